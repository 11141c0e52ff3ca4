#pragma once
// The last layer of Mult-DAE and Mult-VAE, over all items: logits z = h W^T + c of a batch, their
// likelihood and its gradient, and the weights' step, a block of items at a time, so that the
// logits are held once and nothing else is as large.
//
// The negative log likelihood of a row with n ones x (Liang et al., WWW 2018, eq. 2-4):
//
//     multinomial   - sum x_i log softmax(z)_i               dz = n softmax(z) - x
//     bernoulli     sum log(1 + exp(z_i)) - x_i z_i          dz = sigmoid(z) - x
//     gaussian      sum (x_i - z_i)^2 / 2                    dz = z - x
//
// If the ones have weights, their terms count so many times; n is then the sum of the weights.

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

class OutputLayer {
public:
    // For at most `items` items and `batch_rows` rows; units: columns of W. `precision` is that of
    // the products' operands.
    OutputLayer(Likelihood likelihood, index_t items, index_t units, index_t batch_rows,
                Precision precision);

    // What a batch is scored with: weights' first `items` rows, bias' first columns. Its rows'
    // cells are those of rows ids[0..rows) of `matrix`, whose values (or null) are their weights.
    // log_weight (or null), one per item, is added to the logits: how many items one stands for in
    // the softmax.
    struct Task {
        Parameter* weights;
        Parameter* bias;
        const float* log_weight;
        index_t items;
        const CsrView* matrix;
        const std::int32_t* ids;
        ConstMatrixView h;  // rows x units
    };

    // The negative log likelihood, summed over the batch's rows.
    double score(const Task& task, int num_threads);

    // After score: moves weights and biases along the gradient of the mean over the rows. Biases
    // do not decay.
    void step(const Task& task, const OptimizerStep& step, int num_threads);

    // After step: the loss's gradient with respect to h is the sum of these, in their order.
    const std::vector<Matrix>& error_parts() const { return parts_; }

private:
    Range block(index_t b) const;
    std::size_t share(index_t b, index_t row) const {
        return static_cast<std::size_t>(b * batch_rows_ + row);
    }
    void score_block(const Task& task, index_t b);
    void multiply_block(const Task& task, index_t b, MatrixView z);
    void multiply_errors(const Task& task, index_t slice, index_t b, ConstMatrixView errors,
                         MatrixView dh, MatrixView gradient);
    void score_row(const Task& task, index_t b, index_t row, const float* base, float* logits);
    double loss_of(const Task& task, index_t row);
    void errors_of_block(const Task& task, index_t b, MatrixView errors, float* bias_gradient);

    Likelihood likelihood_;
    index_t batch_rows_, items_ = 0, blocks_ = 0, widest_;
    // Per block of items: rows x block's items. The softmax leaves exp(logit - top) here, of which
    // the errors are made without another exponential; the other likelihoods leave the logits.
    std::vector<Matrix> logits_;
    std::vector<Matrix> parts_;     // per slice of blocks: rows x units
    std::vector<Matrix> gradient_;  // per slice: block's items x units
    // blocks x rows: a block's greatest logit, its share of the row's softmax or likelihood (the
    // former's is sum x exp(top)), and what the row's own items take from the loss.
    std::vector<float> block_top_, block_sum_;
    std::vector<double> block_own_;
    std::vector<float> log_total_;  // per row: log of the sum of exp of all logits
    std::vector<double> row_loss_;

    // In bfloat16: what is multiplied.
    struct Packed {
        PackedWords codes;
        PackedRows rows;                    // of the codes
        PackedPanels panels;                // of the codes
        std::vector<PackedPanels> weights;  // per block
        std::vector<PackedWords> errors;    // per slice
    };
    std::unique_ptr<Packed> packed_;  // null in float32
};

}  // namespace isthmus
