#pragma once
// An output layer that decodes, of each row of a batch, its positives and as many sampled negatives
// as are asked for: their loss, its gradient and the weights' step, a block of items at a time. An
// item that is in no row of the batch is neither read nor written.
//
// With z = w_item . h_row + bias_item and the target t, 1 for a positive and 0 for a negative:
//
//     logistic   - t log sigmoid(z) - (1 - t) log(1 - sigmoid(z))    dz = sigmoid(z) - t
//     square     (z - t)^2                                           dz = 2 (z - t)

#include <cstdint>
#include <vector>

#include "isthmus/batch.hpp"
#include "isthmus/column_layout.hpp"
#include "isthmus/csr_view.hpp"
#include "isthmus/optimizers.hpp"
#include "isthmus/parameter.hpp"
#include "isthmus/random.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

class SampledOutput {
public:
    // For at most `batch_rows` rows; units: columns of the weights. The layout, which is to outlive
    // this, has the items in their order.
    SampledOutput(const ColumnLayout& layout, index_t units, index_t batch_rows, bool logistic);

    // Takes the positives of rows ids[0..count) of `matrix` and `negatives` times as many others of
    // each row's, or all there are, by what `draw` gives for its id.
    void sample(const CsrView& matrix, const std::int32_t* ids, index_t count, index_t negatives,
                const Philox& draw, int num_threads);

    // Positives and negatives of the batch.
    index_t cells() const { return start_[static_cast<std::size_t>(rows_)]; }

    // After sample: the loss, summed over the cells. h: rows x units.
    double decode(const Parameter& weights, const Parameter& bias, ConstMatrixView h,
                  int num_threads);

    // After decode: the loss's gradient with respect to h is the sum of these, in their order.
    const std::vector<Matrix>& error_parts() const { return parts_; }

    // Gradients of weights that encode as well: the batch's inputs times `error`, rows x units.
    struct Encoded {
        const Batch* batch;
        ConstMatrixView error;
    };

    // After decode: moves weights and biases along the gradient of the loss and, or null, that of
    // encoding. Weights decay, biases do not.
    void step(Parameter& weights, Parameter& bias, ConstMatrixView h, const Encoded* encoded,
              const OptimizerStep& step, int num_threads);

private:
    // A row's cells of a block: [begin, end), the positives [begin, positives_end).
    struct Segment {
        index_t begin, positives_end, end;
    };
    Segment segment(index_t block, index_t row) const;
    ColumnRange slice_blocks(index_t slice) const;
    void sample_row(const CsrView& matrix, std::int32_t id, index_t row, index_t negatives,
                    const Philox& draw, std::vector<std::uint8_t>& marks,
                    std::vector<std::int32_t>& drawn);
    double decode_segment(const Segment& cells, ConstMatrixView weights, const float* bias,
                          const float* h, float* dh, float* values);
    double measure(float* values, index_t positives, index_t size) const;
    void add_gradients(index_t block, ConstMatrixView h, const Encoded* encoded, MatrixView weights,
                       float* bias, std::uint8_t* touched) const;

    const ColumnLayout* layout_;
    bool logistic_;
    index_t rows_ = 0, slices_;
    std::vector<std::int64_t> start_;        // per row: its first cell; and the end
    std::vector<std::uint32_t> bounds_;      // rows x (blocks + 1): where, in a row, a block begins
    std::vector<std::uint32_t> positives_;   // rows x blocks: positives of a row in a block
    std::vector<std::int32_t> item_;         // per cell
    std::vector<float> error_;               // per cell
    std::vector<Matrix> parts_;              // per slice of blocks: rows x units
    std::vector<Matrix> gradient_;           // per slice: block's items x units, zeros
    std::vector<Matrix> bias_gradient_;      // per slice: one row of a block's items
    std::vector<Matrix> values_;             // likewise
    std::vector<std::vector<double>> loss_;  // per slice and row
};

}  // namespace isthmus
