#pragma once
// Training of a content network by mini-batches of rows:
//
//     loss = mean over rows of  sum over inputs of cross-entropy(x, sigmoid(logits)) + KL
//                               + weight x |target - z|^2   + (lambda / 2) ||weights||^2
//
// The likelihood is of all inputs, also those that a row lacks: dense products by blocks of inputs.
// A block's gradient, of the decoder and on top of it the encoder's cell by cell, is applied while
// it is in the cache, so that none of the size of the weights exists.

#include <cstdint>
#include <vector>

#include "isthmus/batches/batch.hpp"
#include "isthmus/batches/column_layout.hpp"
#include "isthmus/core/csr.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/models/content_network.hpp"
#include "isthmus/nn/epoch.hpp"
#include "isthmus/nn/gaussian_codes.hpp"
#include "isthmus/nn/optimizers.hpp"
#include "isthmus/nn/parameter.hpp"

namespace isthmus {

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

// What the codes are pulled towards: rows x latent, of the whole matrix; without rows, nothing.
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
                            float rate, const Poll& poll);

    void keep_best();
    void restore_best();

private:
    // What a layer needs in training: a batch's activations and errors, its parameters' state.
    struct LayerWork {
        Matrix error;    // rows x units: dloss/d(its activations before the sigmoid)
        Matrix decoded;  // rows x inputs, as the decoder has them; none of the first
        Matrix d_top;    // rows x outputs: dloss/d(what the decoder takes); once the layer
                         // before has been decoded, dloss/d(the logits it was made of)
        Parameter weights, bias, own_decoder, decoder_bias;
        Matrix weight_gradient, own_decoder_gradient, decoder_bias_gradient;  // none of the first
        Matrix bias_gradient;
    };

    // The work space of a range of blocks of inputs, used by one thread at a time.
    struct SliceWork {
        Matrix d_top;                                  // rows x first layer's outputs
        Matrix weight_gradient, own_decoder_gradient;  // block's inputs x ...
        Matrix decoder_bias_gradient;                  // one row of the block's inputs
    };

    LayerWork make_work(index_t layer) const;
    const Matrix& top(index_t layer) const;  // what a layer's decoder takes
    void forward(const EpochBatch& batch);
    void decode(index_t begin, index_t end);
    double output_errors(const CsrView& matrix, const std::int32_t* ids);
    double output_block(const CsrView& matrix, const std::int32_t* ids, index_t block);
    MatrixView errors_of(index_t block);
    double distance(const CodeTarget& target, const std::int32_t* ids) const;
    void backward(const CodeTarget& target, const std::int32_t* ids);
    void code_errors(const CodeTarget& target, const std::int32_t* ids, index_t begin, index_t end);
    void update_layer(index_t layer, const OptimizerStep& step);
    void update_first(const OptimizerStep& step);
    void update_block(index_t block, SliceWork& slice, const OptimizerStep& step);

    ContentNetwork& model_;
    ContentOptions options_;
    ColumnLayout layout_;
    Batch batch_;
    index_t batch_rows_;
    std::vector<Matrix> before_, after_;  // per layer: rows x units, rows x outputs
    std::vector<LayerWork> work_;
    std::vector<SliceWork> slices_;
    GaussianCodes codes_;
    std::vector<Matrix> errors_;  // per block of inputs: rows x block's inputs
    std::vector<double> block_loss_;
    BestWeights best_;
    index_t step_ = 0;
};

}  // namespace isthmus
