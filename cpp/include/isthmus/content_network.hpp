#pragma once
// The content network of the collaborative variational autoencoder (Li, She, KDD 2017): sparse rows
// of values in [0, 1], a Gaussian code, and a decoder that shares the encoder's weights, with a
// Bernoulli likelihood over all inputs.
//
//     h_l = sigmoid(h_{l-1} W_l + b_l),  [mean, log-variance] = h_L A + a,  z = mean + noise x std
//     g_L = sigmoid(z D^T + d),  g_{l-1} = sigmoid(g_l W_l^T + c_l),  logits = g_1 W_1^T + c_1
//     loss = mean over rows of  sum over inputs of cross-entropy(x, sigmoid(logits)) + KL
//                               + weight x |target - z|^2   + (lambda / 2) ||weights||^2
//
// Without a code (latent = 0) it is a plain autoencoder whose top layer is decoded; with corrupted
// inputs and a single layer, that is what pretrains it layer by layer (Vincent et al., 2010).

#include <cstdint>
#include <functional>
#include <vector>

#include "isthmus/batch.hpp"
#include "isthmus/csr_view.hpp"
#include "isthmus/optimizers.hpp"
#include "isthmus/parameter.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

struct ContentShape {
    index_t inputs = 0;
    std::vector<index_t> hidden;  // units of each layer before the code
    index_t latent = 0;           // 0: there is no code, and at least one hidden layer

    index_t layers() const { return static_cast<index_t>(hidden.size()) + (latent > 0 ? 1 : 0); }
    bool is_code(index_t layer) const { return layer == static_cast<index_t>(hidden.size()); }
    index_t inputs_of(index_t layer) const {
        return layer == 0 ? inputs : hidden[static_cast<std::size_t>(layer) - 1];
    }
    // What the next layer and the decoder get: the code's latent, of the 2 x latent it computes.
    index_t outputs(index_t layer) const {
        return is_code(layer) ? latent : hidden[static_cast<std::size_t>(layer)];
    }
    index_t units(index_t layer) const { return outputs(layer) * (is_code(layer) ? 2 : 1); }
};

struct ContentLayer {
    Matrix weights;       // inputs of the layer x its units
    Matrix bias;          // one row
    Matrix own_decoder;   // inputs of the layer x latent, of the code alone
    Matrix decoder_bias;  // one row of the layer's inputs

    // What decodes: the code's own weights, and elsewhere those that encode.
    Matrix& decoder() { return own_decoder.empty() ? weights : own_decoder; }
    const Matrix& decoder() const { return own_decoder.empty() ? weights : own_decoder; }
};

struct ContentNetwork {
    ContentShape shape;
    std::vector<ContentLayer> layers;

    // Weights uniform in +-sqrt(6 / (fan in + fan out)), biases 0.
    ContentNetwork(ContentShape shape, std::uint64_t seed, int num_threads);

    std::vector<Matrix*> parameters();
};

struct ContentOptions {
    OptimizerOptions optimizer;
    float regularization = 0.0f;  // lambda, per batch; biases are free
    index_t batch_size = 128;
    float corruption = 0.0f;  // probability that a cell of the input is masked
    std::uint64_t seed = 0;
    int num_threads = 1;
};

// Sums over rows.
struct ContentResult {
    double reconstruction = 0.0;  // cross-entropy
    double divergence = 0.0;      // KL
    double distance = 0.0;        // |target - z|^2
    index_t rows = 0;
};

// Where the code is drawn to: rows x latent, of the whole matrix; without rows, nowhere.
struct CodeTarget {
    ConstMatrixView codes;
    float weight = 0.0f;
};

class ContentTrainer {
public:
    ContentTrainer(ContentNetwork& model, index_t rows, ContentOptions options);

    // One pass over the rows with any cell, in an order drawn for this epoch. `poll` is called
    // before each batch with the number of rows done; if it throws, the weights stay as after the
    // last whole batch.
    ContentResult run_epoch(const CsrView& matrix, const CodeTarget& target, index_t epoch,
                            float rate, const std::function<void(index_t)>& poll);

    void keep_best();
    void restore_best();

private:
    // What a layer needs in training: a batch's activations and errors, its parameters' state.
    struct LayerWork {
        Matrix before, after;  // rows x units, rows x outputs
        Matrix error;          // rows x units: dloss/dbefore
        Matrix decoded;        // rows x inputs, as the decoder has them; none of the first
        Matrix d_top;          // rows x outputs: dloss/d(what the decoder takes); once the layer
                               // before has been decoded, dloss/d(the logits it was made of)
        Parameter weights, bias, own_decoder, decoder_bias;
        Matrix weight_gradient, own_decoder_gradient, decoder_bias_gradient;  // none of the first
        Matrix bias_gradient;
    };

    // What goes with a range of blocks of inputs, and is used by one thread at a time.
    struct SliceWork {
        Matrix d_top;                                  // rows x first layer's outputs
        Matrix weight_gradient, own_decoder_gradient;  // block's inputs x ...
        Matrix decoder_bias_gradient;                  // one row of the block's inputs
    };

    LayerWork make_work(index_t layer) const;
    const Matrix& top(index_t layer) const;  // what a layer's decoder takes
    void forward(const std::int32_t* ids, index_t epoch);
    void encode(index_t begin, index_t end);
    void decode(index_t begin, index_t end);
    double output_errors(const CsrView& matrix, const std::int32_t* ids);
    double output_block(const CsrView& matrix, const std::int32_t* ids, index_t block);
    MatrixView errors_of(index_t block);
    ContentResult code_losses(const CodeTarget& target, const std::int32_t* ids) const;
    void backward(const CodeTarget& target, const std::int32_t* ids);
    void code_errors(const CodeTarget& target, const std::int32_t* ids, index_t begin, index_t end);
    void update_layer(index_t layer, float rate);
    void update_first(float rate);
    void update_block(index_t block, SliceWork& slice, float rate);
    void update(Parameter& parameter, const Matrix& gradient, float decay, float rate);

    ContentNetwork& model_;
    ContentOptions options_;
    ColumnLayout layout_;
    Batch batch_;
    index_t batch_rows_;
    std::vector<LayerWork> work_;
    std::vector<SliceWork> slices_;
    Matrix noise_;                // rows x latent
    std::vector<Matrix> errors_;  // per block of inputs: rows x block's inputs
    std::vector<double> block_loss_;
    BestWeights best_;
    index_t step_ = 0;
};

// Means of the codes (without a code: the top layer) of each row, uncorrupted.
void encode_content(const ContentNetwork& model, const CsrView& matrix, int num_threads,
                    MatrixView codes);

}  // namespace isthmus
