#pragma once
// The weights of layers, and what they start from.

#include <cstdint>
#include <vector>

#include "isthmus/core/types.hpp"
#include "isthmus/nn/optimizers.hpp"
#include "isthmus/nn/parameter.hpp"

namespace isthmus {

// Which of all machines' inputs a stack has.
struct InputShare {
    std::vector<std::int32_t> numbers;  // of the stack's inputs among all; empty: it has them all
    index_t total = 0;                  // inputs of all machines, if there are numbers
};

// Weights of a layer uniform in +-sqrt(6 / (rows + cols)) (Glorot, Bengio, AISTATS 2010), drawn by
// (seed, layer) alone. With a share, they are those rows of all machines' weights.
void initialize_uniform(Matrix& weights, std::uint64_t seed, int layer, int num_threads,
                        const InputShare& share = {});

// The same for weights from N(0, deviation^2).
void initialize_normal(Matrix& weights, float deviation, std::uint64_t seed, int layer,
                       int num_threads);

// A hidden layer after the first: `weights` is (outputs before x units), `bias` one row.
struct DenseLayer {
    Matrix weights;
    Matrix bias;
};

// Sparse input, dense hidden layers, and an output for each of the inputs.
struct LayerStack {
    // What a hidden layer computes, and what the next one gets: as many, but for a Gaussian code.
    struct Size {
        index_t units, outputs;
    };

    Matrix encoder;       // V: inputs x units of the first layer
    Matrix encoder_bias;  // one row
    std::vector<DenseLayer> hidden;
    Matrix decoder;       // W: inputs x outputs of the last layer
    Matrix decoder_bias;  // one row of inputs

    LayerStack() = default;

    // Uniform weights, biases 0. At least one hidden layer.
    LayerStack(index_t inputs, const std::vector<Size>& layers, std::uint64_t seed, int num_threads,
               const InputShare& share = {});

    // Encoder, its bias, decoder, its bias, and each hidden layer's weights and bias.
    std::vector<Matrix*> parameters();
};

// A stack in training: the optimizer's state of all its weights, and the gradients of those that
// are not kept by column.
struct TrainedStack {
    Parameter encoder, encoder_bias, decoder, decoder_bias;
    std::vector<Parameter> hidden, hidden_bias;
    std::vector<Matrix> hidden_gradient;  // as hidden
    std::vector<Matrix> bias_gradient;    // of the encoder, then as hidden

    // `precision` is the encoder's and the decoder's.
    TrainedStack(LayerStack& layers, OptimizerKind kind, Precision precision = Precision::float32);

    // In the order of LayerStack::parameters().
    std::vector<Parameter*> parameters();

    // The optimizer's state: two matrices a parameter, of which some may be empty.
    std::vector<Matrix*> state();
};

}  // namespace isthmus
