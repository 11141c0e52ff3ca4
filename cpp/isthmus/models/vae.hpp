#pragma once
// Autoencoders with a likelihood over all items: Mult-DAE, and Mult-VAE with a Gaussian code
// (Liang, Krishnan, Hoffman, Jebara, WWW 2018).
//
//     h_1 = tanh(X V + b), h_l = tanh(h_{l-1} A_l + a_l), logits = h_L W^T + c
//     loss = mean over rows of  - log likelihood of the row's items + beta KL
//
// The likelihood is multinomial, Bernoulli or Gaussian (output_layer.hpp). Where a softmax over all
// items would take too long, it can be over the items of a batch's rows and some that are drawn
// (item_sample.hpp): its denominator is then an unbiased estimate, and the loss, its logarithm, is
// too small by about half the estimate's relative variance, which falls with the number drawn.
//
// One layer may be the code: its 2 x latent outputs are mean and log-variance, z = mean + noise x
// exp(log-variance / 2) is what the next layer gets in training and the mean outside of it, and KL
// is that of N(mean, exp(log-variance)) from N(0, I).

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "isthmus/batches/batch.hpp"
#include "isthmus/batches/column_layout.hpp"
#include "isthmus/batches/item_sample.hpp"
#include "isthmus/core/csr.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/nn/activations.hpp"
#include "isthmus/nn/epoch.hpp"
#include "isthmus/nn/gaussian_codes.hpp"
#include "isthmus/nn/hidden_products.hpp"
#include "isthmus/nn/layers.hpp"
#include "isthmus/nn/optimizers.hpp"
#include "isthmus/nn/output_layer.hpp"
#include "isthmus/nn/parameter.hpp"

namespace isthmus {

struct MultinomialShape {
    index_t inputs = 0;
    std::vector<index_t> encoder;  // units of each layer before the code, at least one
    index_t latent = 0;            // 0: there is no code, and the layers follow each other
    std::vector<index_t> decoder;  // units of each layer after it
    Activation activation = Activation::tanh;

    index_t layers() const {
        return static_cast<index_t>(encoder.size() + decoder.size()) + (latent > 0 ? 1 : 0);
    }
    bool is_code(index_t layer) const {
        return latent > 0 && layer == static_cast<index_t>(encoder.size());
    }
    index_t units(index_t layer) const;    // that a layer computes: 2 x latent for the code
    index_t outputs(index_t layer) const;  // that the next one gets: latent for the code
};

struct MultinomialAutoencoder : LayerStack {
    MultinomialShape shape;

    MultinomialAutoencoder(MultinomialShape shape, std::uint64_t seed, int num_threads);
};

struct MultinomialOptions {
    OptimizerOptions optimizer;
    float regularization = 0.0f;  // lambda of + (lambda / 2) ||weights||^2, per batch
    index_t batch_size = 500;
    float dropout = 0.5f;  // of the input
    Likelihood likelihood = Likelihood::multinomial;
    index_t sampled_items = 0;  // drawn for a batch's softmax; 0: it is over all items
    float noise = 1.0f;         // standard deviation of the code's noise before it is scaled
    Precision precision = Precision::float32;  // of dense products
    std::uint64_t seed = 0;
    int num_threads = 1;
};

struct MultinomialResult {
    double likelihood = 0.0;  // - log likelihood, summed over rows
    double divergence = 0.0;  // KL, likewise
    index_t rows = 0;
};

class MultinomialTrainer {
public:
    MultinomialTrainer(MultinomialAutoencoder& model, index_t rows, MultinomialOptions options);

    // One pass over the rows with any cell, whose values (or null, for 1) are weights. A row is
    // their roots, normalised to length 1, in the input, and ones that count as often as they say
    // in the likelihood. beta(step) weighs the KL of a step, counted from 0 over all epochs. `poll`
    // is called before each batch with the number of rows done.
    MultinomialResult run_epoch(const CsrView& matrix, index_t epoch, float rate,
                                const std::function<float(index_t)>& beta, const Poll& poll);

    // Returns the steps taken since the trainer was made, those of an interrupted epoch included.
    index_t steps() const { return step_; }

    void keep_best();
    void restore_best();

private:
    // A sample of the items, and the parameters that have a row or a column for each.
    struct Sampling {
        ItemSample items;
        SampledParameter encoder, decoder, decoder_bias;
    };

    // The parameters and cells that a batch is trained with: of all items, or of a sample.
    struct Items {
        Parameter *encoder, *decoder, *decoder_bias;
        const CsrView* matrix;
        const float* log_weight;  // or null
    };

    // Rows of a hidden layer's weights that are moved together.
    struct WeightPiece {
        std::size_t layer;
        index_t begin, end;
    };

    Items all_items(const CsrView& matrix);
    Items gather_sample(const CsrView& matrix, const EpochBatch& batch);
    void scatter_sample();
    void step(const Items& items, const EpochBatch& batch, float beta, float rate,
              MultinomialResult& result);
    template <class Body>
    void for_each_hidden(const Body& body);
    void forward(const Items& items, const EpochBatch& batch);
    void backward(const Items& items, float beta, const OptimizerStep& step);
    void propagate_error(index_t layer, float kl);
    void update_weights(const WeightPiece& piece, const OptimizerStep& step);

    MultinomialAutoencoder& model_;
    MultinomialOptions options_;
    ColumnLayout layout_;
    Batch batch_;
    index_t batch_rows_;
    std::vector<Matrix> before_, after_, error_;  // per layer: rows x units (after_: outputs)
    GaussianCodes codes_;
    std::vector<HiddenProducts> products_;  // per hidden layer after the first
    OutputLayer output_;
    std::unique_ptr<Sampling> sampling_;  // null: all items
    TrainedStack trained_;
    std::vector<WeightPiece> weight_pieces_;
    BestWeights best_;
    index_t step_ = 0;
};

// Computes the last layer's outputs (rows x outputs) of every row, uncorrupted, with the code's
// mean for z. Values are weights, as in training.
void encode_multinomial(const MultinomialAutoencoder& model, const CsrView& matrix, int num_threads,
                        MatrixView codes);

}  // namespace isthmus
