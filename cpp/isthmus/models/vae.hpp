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
#include "isthmus/nn/reduction.hpp"

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

    MultinomialAutoencoder(MultinomialShape shape, std::uint64_t seed, int num_threads,
                           const InputShare& share = {});
};

// Which items a machine has, where they are split over several. Hidden layers are on all of them,
// which take the same steps.
struct ItemShare {
    // Of the items among all, by which dropout is drawn; empty where this machine has all.
    std::vector<std::int32_t> numbers;
    // Of the items, each from a cache line on, whose sums are taken alone; empty: one of all.
    // Slice s is number s x machines + machine among all.
    std::vector<Range> slices;
    index_t machine = 0, machines = 1;
};

// What is known of a matrix's rows, where each machine has some of the columns.
struct SplitRows {
    Reduction reduce;
    std::vector<std::int32_t> filled;  // that have a cell on any machine, in ascending order
    const double* ones = nullptr;      // per row: the sum of the weights of all its cells
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
    ItemShare share;  // all items, if they are sampled
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
    // is called before each batch with the number of rows done. `split` comes with a share of the
    // items; the result is then that of all machines.
    MultinomialResult run_epoch(const CsrView& matrix, index_t epoch, float rate,
                                const std::function<float(index_t)>& beta, const Poll& poll,
                                const SplitRows* split = nullptr);

    // The same as encode_multinomial(), of rows that are split.
    void encode(const CsrView& matrix, const SplitRows& split, MatrixView codes);

    // Returns the steps taken since the trainer was made, those of an interrupted epoch included.
    index_t steps() const { return step_; }
    void set_steps(index_t steps) { step_ = steps; }

    void keep_best();
    void restore_best();

    // What goes on with the weights: the optimizer's state, up to two matrices a parameter and in
    // the order of the model's parameters; the weights that were kept, or none.
    std::vector<Matrix*> state() { return trained_.state(); }
    std::vector<Matrix*> best() { return best_.copies(); }
    const MultinomialAutoencoder& model() const { return model_; }
    bool is_split() const { return !options_.share.numbers.empty(); }
    bool by_slices() const { return !options_.share.slices.empty(); }

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
        const float* log_weight = nullptr;  // or null
        const SplitRows* split = nullptr;   // or null
    };

    // Rows of a hidden layer's weights that are moved together.
    struct WeightPiece {
        std::size_t layer;
        index_t begin, end;
    };

    Items gather_sample(const CsrView& matrix, const EpochBatch& batch);
    void scatter_sample();
    void step(const Items& items, const EpochBatch& batch, float beta, float rate,
              MultinomialResult& result);
    index_t all_slices() const {
        return options_.share.machines * static_cast<index_t>(slices_.size());
    }
    template <class Body>
    void for_each_slice(const Body& body);
    OutputLayer::Task task(const Items& items, const EpochBatch& batch, std::size_t slice);
    double score(const Items& items, const EpochBatch& batch);
    void gather_shares(index_t rows, const Reduction& reduce);
    RowShare gathered_share(index_t row, index_t slice) const;
    template <class Body>
    void for_each_hidden(const Body& body);
    void encode_slices(ConstMatrixView encoder, const Reduction& reduce);
    void forward(const Items& items, const EpochBatch& batch);
    void backward(const Items& items, float beta, const OptimizerStep& step);
    const std::vector<Matrix>& output_error(const Items& items);
    void propagate_error(index_t layer, const std::vector<Matrix>& output_error, float kl);
    void update_weights(const WeightPiece& piece, const OptimizerStep& step);

    MultinomialAutoencoder& model_;
    MultinomialOptions options_;
    std::vector<Range> slices_;
    ColumnLayout layout_;
    Batch batch_;
    index_t batch_rows_;
    std::vector<Matrix> before_, after_, error_;  // per layer: rows x units (after_: outputs)
    GaussianCodes codes_;
    std::vector<HiddenProducts> products_;  // per hidden layer after the first
    std::vector<OutputLayer> outputs_;      // per slice
    std::vector<float> log_totals_;         // per row
    std::vector<double> row_loss_;
    // With a share of the items. Per slice: its part of X V, then of the last layer's error; the
    // latter's sum; and what each row comes to in each slice of all machines, if there are several.
    std::vector<Matrix> partial_, summed_error_;
    Matrix shares_;
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
