#pragma once
// The last layer of Mult-DAE and Mult-VAE, over all items or a slice of them: logits z = h W^T + c
// of a batch, their likelihood and its gradient, and the weights' step, a block of items at a time,
// so that the logits are held once and nothing else is as large.
//
// The negative log likelihood of a row with n ones x (Liang et al., WWW 2018, eq. 2-4):
//
//     multinomial   - sum x_i log softmax(z)_i               dz = n softmax(z) - x
//     bernoulli     sum log(1 + exp(z_i)) - x_i z_i          dz = sigmoid(z) - x
//     gaussian      sum (x_i - z_i)^2 / 2                    dz = z - x
//
// If the ones have weights, their terms count so many times; n is then the sum of the weights.
//
// The softmax needs a row's logits of all items, so that a batch has two passes: score(), whose
// shares of a row are joined over all slices of the items, and step().

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "isthmus/core/csr.hpp"
#include "isthmus/core/half_matrix.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/nn/half_products.hpp"
#include "isthmus/nn/optimizers.hpp"
#include "isthmus/nn/parameter.hpp"

namespace isthmus {

enum class Likelihood { multinomial, bernoulli, gaussian };

// Throws std::invalid_argument naming the choices.
Likelihood likelihood_from_name(const std::string& name);

// What some items come to in a row's likelihood.
struct RowShare {
    float top = 0.0f;    // their greatest logit
    double total = 0.0;  // the sum of exp(logit - top), or of the terms of another likelihood
    double own = 0.0;    // what the row's ones take from the loss
};

// The share of all items, of shares(0) to shares(count - 1).
template <class Shares>
RowShare join(Likelihood likelihood, index_t count, const Shares& shares) {
    RowShare all = shares(0);
    if (likelihood == Likelihood::multinomial) {
        for (index_t i = 1; i < count; ++i) all.top = std::max(all.top, shares(i).top);
    }
    all.total = all.own = 0.0;
    for (index_t i = 0; i < count; ++i) {
        const RowShare share = shares(i);
        const bool scaled = likelihood == Likelihood::multinomial;
        all.total +=
            scaled ? share.total * std::exp(double{share.top} - double{all.top}) : share.total;
        all.own += share.own;
    }
    return all;
}

// The logarithm of the softmax's denominator, by the share of all items.
double log_total(const RowShare& all);

// A row's negative log likelihood; `ones` is the sum of their weights.
double row_loss(Likelihood likelihood, const RowShare& all, double ones);

class OutputLayer {
public:
    // Items are cut into parts: what one worker owns during the step. So many, unless there are few
    // items.
    static constexpr index_t kParts = 8;

    // For at most `items` items and `batch_rows` rows; units: columns of W. `precision` is that of
    // the products' operands.
    OutputLayer(Likelihood likelihood, index_t items, index_t units, index_t batch_rows,
                Precision precision, index_t parts = kParts);

    // What a batch is scored with: rows `items` of the weights, columns of the bias, from a cache
    // line on. Its rows' cells are those of rows ids[0..rows) of `matrix`, whose values (or null)
    // are their weights. log_weight (or null), one per item, is added to the logits: how many items
    // one stands for in the softmax. row_ones (or null), one per row of the matrix, is the sum of
    // the weights of all its cells, if others are elsewhere.
    struct Task {
        Parameter* weights;
        Parameter* bias;
        const float* log_weight;
        Range items;
        const CsrView* matrix;
        const std::int32_t* ids;
        ConstMatrixView h;  // rows x units
        const double* row_ones = nullptr;

        // The sum of the weights of a batch row's cells.
        double ones(index_t row) const;
    };

    void score(const Task& task, int num_threads);

    // After score: what the task's items come to in a batch row's likelihood.
    RowShare share(index_t row) const;

    // After score: moves weights and biases along the gradient of the mean over the rows, whose
    // softmax has these logarithms of its denominators. Biases do not decay.
    void step(const Task& task, const std::vector<float>& log_totals, const OptimizerStep& step,
              int num_threads);

    // After step: the loss's gradient with respect to h is the sum of these, in their order.
    const std::vector<Matrix>& error_parts() const { return parts_; }

private:
    Range block(index_t b) const;
    std::size_t at(index_t b, index_t row) const {
        return static_cast<std::size_t>(b * batch_rows_ + row);
    }
    void score_block(const Task& task, index_t b);
    void multiply_block(const Task& task, index_t b, MatrixView z);
    void multiply_errors(const Task& task, index_t part, index_t b, ConstMatrixView errors,
                         MatrixView dh, MatrixView gradient);
    void score_row(const Task& task, index_t b, index_t row, const float* base, float* logits);
    void errors_of_block(const Task& task, const std::vector<float>& log_totals, index_t b,
                         MatrixView errors, float* bias_gradient);

    Likelihood likelihood_;
    index_t batch_rows_, blocks_ = 0, widest_;
    Range items_;
    // Per block of items: rows x block's items. The softmax leaves exp(logit - top) here, of which
    // the errors are made without another exponential; the other likelihoods leave the logits.
    std::vector<Matrix> logits_;
    std::vector<Matrix> parts_;     // per part: rows x units
    std::vector<Matrix> gradient_;  // per part: block's items x units
    // blocks x rows: a block's share of a row.
    std::vector<float> block_top_, block_sum_;
    std::vector<double> block_own_;

    // In bfloat16: what is multiplied.
    struct Packed {
        PackedWords codes;
        PackedRows rows;                    // of the codes
        PackedPanels panels;                // of the codes
        std::vector<PackedPanels> weights;  // per block
        std::vector<PackedWords> errors;    // per part
    };
    std::unique_ptr<Packed> packed_;  // null in float32
};

}  // namespace isthmus
