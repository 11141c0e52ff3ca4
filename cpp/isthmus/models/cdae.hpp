#pragma once
// CDAE (Wu, DuBois, Zheng, Ester, WSDM 2016): a denoising autoencoder of implicit feedback with a
// node of each user's own, whose loss is on the positives and a few sampled negatives alone.
//
//     z_u = h(W^T x~_u + V_u + b),   y_ui = f(W'_i . z_u + b'_i)

#include <cstdint>
#include <vector>

#include "isthmus/batches/sampled_batch.hpp"
#include "isthmus/batches/sampled_output.hpp"
#include "isthmus/core/csr.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/nn/activations.hpp"
#include "isthmus/nn/optimizers.hpp"
#include "isthmus/nn/parameter.hpp"

namespace isthmus {

struct CdaeShape {
    index_t users = 0;
    index_t items = 0;
    index_t units = 0;
    Activation activation = Activation::sigmoid;  // h
    bool logistic = true;  // f is the sigmoid and the loss cross-entropy; or identity and squares
    bool tied = false;     // W' is W
};

struct Cdae {
    CdaeShape shape;
    Matrix encoder;       // W: items x units
    Matrix encoder_bias;  // b: one row
    Matrix users;         // V: users x units
    Matrix decoder;       // W': items x units; empty if tied
    Matrix decoder_bias;  // b': one row of items

    // Weights uniform in +-sqrt(6 / (fan in + fan out)), biases 0.
    Cdae(CdaeShape shape, std::uint64_t seed, int num_threads);

    const Matrix& output() const { return shape.tied ? encoder : decoder; }
    std::vector<Matrix*> parameters();
};

struct CdaeOptions {
    OptimizerOptions optimizer;
    float regularization = 0.0f;  // lambda of + (lambda / 2) (||W||^2 + ||W'||^2 + ||V||^2)
    index_t batch_size = 256;
    index_t cells = 0;      // stored ones of the matrix that it trains on
    index_t negatives = 5;  // sampled for each of them
    float corruption = 0.5f;
    std::uint64_t seed = 0;
    int num_threads = 1;
};

struct CdaeResult {
    double loss = 0.0;  // summed over cells
    index_t cells = 0;  // positives and negatives
};

class CdaeTrainer {
public:
    CdaeTrainer(Cdae& model, CdaeOptions options);

    const CdaeShape& shape() const { return model_.shape; }

    // One pass over the users with any cell, each of which is 1 in the input, and in the loss
    // counts as its value says (or null, for 1). A batch's step has the gradient of its own users'
    // loss and of their nodes' decay, and the decay of W and W' in proportion to its share of the
    // users. Users outside of the batch still follow the optimizer's momentum: they take those
    // steps when they are next in a batch, or the epoch ends. `poll` is called before each batch
    // with the number of users done. The columns of a row must ascend. After Diverged the weights
    // are unusable until restore_best().
    CdaeResult run_epoch(const CsrView& matrix, index_t epoch, float rate, const Poll& poll);

    void keep_best();
    void restore_best();

private:
    void catch_up(const std::int32_t* ids, index_t begin, index_t end);
    void settle();
    index_t idle_steps() const { return static_cast<index_t>(idle_steps_.size()); }
    void encode(const std::int32_t* ids, index_t begin, index_t end);
    void propagate_error();
    void update(const std::int32_t* ids, const OptimizerStep& step);
    Parameter& output() { return model_.shape.tied ? encoder_ : decoder_; }

    Cdae& model_;
    CdaeOptions options_;
    index_t batch_rows_;
    SampledBatch batch_;
    Matrix before_, after_, error_;  // rows x units
    SampledOutput output_;
    Parameter encoder_, encoder_bias_, users_, decoder_, decoder_bias_;
    Matrix bias_gradient_;
    BestWeights best_;
    index_t step_ = 0;
    std::vector<OptimizerStep> idle_steps_;  // the epoch's, of a user without gradient
};

// Computes codes (rows x units) of rows of ones. If `known`, row i is that of user i; otherwise
// rows have no node of their own.
void encode_cdae(const Cdae& model, const CsrView& matrix, bool known, int num_threads,
                 MatrixView codes);

}  // namespace isthmus
