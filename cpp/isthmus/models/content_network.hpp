#pragma once
// The content network of the collaborative variational autoencoder (Li, She, KDD 2017): sparse rows
// of values in [0, 1], a Gaussian code, and a decoder that shares the encoder's weights, with a
// Bernoulli likelihood over all inputs.
//
//     h_l = sigmoid(h_{l-1} W_l + b_l),  [mean, log-variance] = h_L A + a,  z = mean + noise x std
//     g_L = sigmoid(z D^T + d),  g_{l-1} = sigmoid(g_l W_l^T + c_l),  logits = g_1 W_1^T + c_1
//
// Without a code (latent = 0) it is a plain autoencoder whose top layer is decoded; with corrupted
// inputs and a single layer, that is what pretrains it layer by layer (Vincent et al., 2010).

#include <cstdint>
#include <vector>

#include "isthmus/batches/batch.hpp"
#include "isthmus/core/csr.hpp"
#include "isthmus/core/types.hpp"

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

// Activations of every layer for rows [begin, end) of an assembled batch: before (rows x units) and
// after (rows x outputs), where the code is its mean.
void encode_rows(const ContentNetwork& model, const Batch& batch, index_t begin, index_t end,
                 std::vector<Matrix>& before, std::vector<Matrix>& after);

// Means of the codes (without a code: the top layer) of each row, uncorrupted.
void encode_content(const ContentNetwork& model, const CsrView& matrix, int num_threads,
                    MatrixView codes);

}  // namespace isthmus
