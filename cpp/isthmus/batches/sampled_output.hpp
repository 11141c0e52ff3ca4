#pragma once
// An output layer that decodes a sampled batch's cells: their loss, its gradient and the weights'
// step, a block of items at a time. If the optimizer leaves weights without a gradient alone and
// nothing decays, the weights of items in no row of the batch are neither read nor written.
//
// With z = w_item . h_row + bias_item and the target t, 1 for a positive and 0 for a negative:
//
//     logistic   - t log sigmoid(z) - (1 - t) log(1 - sigmoid(z))    dz = sigmoid(z) - t
//     square     (z - t)^2                                           dz = 2 (z - t)
//
// If positives have weights, their losses count so many times.

#include <cstdint>
#include <vector>

#include "isthmus/batches/column_layout.hpp"
#include "isthmus/batches/sampled_batch.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/nn/optimizers.hpp"
#include "isthmus/nn/parameter.hpp"

namespace isthmus {

class SampledOutput {
public:
    // For at most `rows` rows of `batch`, which is to outlive this; units: columns of the weights.
    SampledOutput(const SampledBatch& batch, index_t units, index_t rows, bool logistic);

    // The loss, summed over the batch's cells. h: rows x units. With a step, weights and biases
    // move along its gradient, a block's as soon as it is decoded: while its cells and weights are
    // in a core's caches. Weights decay, biases do not.
    double decode(Parameter& weights, Parameter& bias, ConstMatrixView h, const OptimizerStep* step,
                  int num_threads);

    // After decode: the loss's gradient with respect to h is the sum of these, in their order.
    const std::vector<Matrix>& error_parts() const { return parts_; }

    // After decode without a step: moves weights that encode as well, along the gradients of the
    // loss and of the inputs, each of which adds its row of `input_error` to its item's.
    void step(Parameter& weights, Parameter& bias, ConstMatrixView h, ConstMatrixView input_error,
              const OptimizerStep& step, int num_threads);

    // Moves weights that only encode.
    void step_inputs(Parameter& weights, ConstMatrixView input_error, const OptimizerStep& step,
                     int num_threads);

private:
    // What a slice of blocks works with, block after block.
    struct Work {
        Matrix values, weights;             // of a row's cells in a block
        Matrix gradient, bias_gradient;     // of a block's items, zeros between uses
        std::vector<std::uint8_t> touched;  // which of them are not, likewise
        double loss;                        // of its blocks

        template <class Factor>
        void add(const std::int32_t* items, index_t size, index_t first, const float* units,
                 const Factor& factor);
    };

    template <class Body>
    void for_each_slice(int num_threads, const Body& body) const;
    void add_output(index_t block, const SampledBatch::Cells& cells, const float* h,
                    const float* errors, Work& work) const;
    void add_input(index_t block, const SampledBatch::Cells& cells, const float* error,
                   Work& work) const;
    void step_block(index_t block, Parameter& weights, Parameter* bias, const OptimizerStep& step,
                    Work& work) const;

    const SampledBatch* batch_;
    bool logistic_;
    index_t slices_;
    std::vector<float> error_;   // per cell, where the step comes later
    std::vector<Matrix> parts_;  // per slice: rows x units
    std::vector<Work> work_;     // per slice
};

}  // namespace isthmus
