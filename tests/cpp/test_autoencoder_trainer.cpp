#include "isthmus/models/autoencoder_trainer.hpp"

#include <cmath>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "isthmus/nn/epoch.hpp"
#include "random_data.hpp"

using isthmus::Activation;
using isthmus::Autoencoder;
using isthmus::AutoencoderShape;
using isthmus::Corruption;
using isthmus::EpochResult;
using isthmus::OptimizerKind;
using isthmus::Trainer;
using isthmus::TrainingOptions;
using testing::index_t;
using testing::Matrix;
using testing::same_bits;
using testing::Sparse;

namespace {

const Sparse& ratings() {
    static const Sparse sparse = testing::random_sparse(60, 600, 5);  // four slices of columns
    return sparse;
}

AutoencoderShape shape(std::vector<index_t> hidden) {
    return {600, std::move(hidden), Activation::sigmoid, Activation::identity};
}

TrainingOptions options(OptimizerKind optimizer, int num_threads) {
    TrainingOptions all;
    all.optimizer.kind = optimizer;
    all.regularization = 1.0f;
    all.hidden_regularization = 1.0f;
    all.batch_size = 16;
    all.corruption = Corruption::mask;
    all.corruption_level = 0.3f;
    all.dropout = 0.2f;
    all.seed = 7;
    all.num_threads = num_threads;
    return all;
}

struct Run {
    Autoencoder model;
    std::vector<EpochResult> epochs;
    Matrix codes;
};

Run run(const std::vector<index_t>& hidden, OptimizerKind optimizer, float rate, int num_threads) {
    Run result{Autoencoder(shape(hidden), 3, num_threads), {}, Matrix(60, hidden.back())};
    Trainer trainer(result.model, ratings().popularity(), 60, options(optimizer, num_threads));
    for (index_t epoch = 0; epoch < 3; ++epoch) {
        result.epochs.push_back(trainer.run_epoch(ratings().view(), {}, epoch, {rate}, {}, {}));
    }
    trainer.encode_matrix(ratings().view(), {}, result.codes.view());
    trainer.finish();
    return result;
}

bool same_weights(const Autoencoder& a, const Autoencoder& b) {
    bool same = same_bits(a.encoder, b.encoder) && same_bits(a.encoder_bias, b.encoder_bias) &&
                same_bits(a.decoder, b.decoder) && same_bits(a.decoder_bias, b.decoder_bias);
    for (std::size_t l = 0; l < a.hidden.size(); ++l) {
        same = same && same_bits(a.hidden[l].weights, b.hidden[l].weights) &&
               same_bits(a.hidden[l].bias, b.hidden[l].bias);
    }
    return same;
}

void training_gives_the_same_bits_at_any_number_of_threads() {
    const std::vector<std::vector<index_t>> shapes = {{40}, {20, 33, 17}};
    for (const auto& hidden : shapes) {
        for (const OptimizerKind optimizer : {OptimizerKind::adam, OptimizerKind::momentum}) {
            const float rate = optimizer == OptimizerKind::adam ? 0.01f : 1e-4f;
            const Run one = run(hidden, optimizer, rate, 1);
            CHECK(one.epochs[2].squared_error < one.epochs[0].squared_error);
            CHECK_EQUAL(one.epochs[0].cells, ratings().view().nnz());
            for (const int threads : {2, 3, 4}) {
                const Run other = run(hidden, optimizer, rate, threads);
                CHECK(same_weights(one.model, other.model));
                CHECK(same_bits(one.codes, other.codes));
                for (std::size_t e = 0; e < 3; ++e) {
                    CHECK_EQUAL(one.epochs[e].squared_error, other.epochs[e].squared_error);
                }
            }
        }
    }
}

void the_padding_of_weights_stays_zero() {
    for (const OptimizerKind optimizer : {OptimizerKind::adagrad, OptimizerKind::adam}) {
        const Run trained = run({17, 5}, optimizer, 0.01f, 2);
        for (const Matrix* weights :
             {&trained.model.encoder, &trained.model.encoder_bias, &trained.model.decoder,
              &trained.model.decoder_bias, &trained.model.hidden[0].weights,
              &trained.model.hidden[0].bias}) {
            CHECK(testing::padding_is_zero(weights->view()));
        }
    }
}

void an_evaluation_has_the_same_bits_at_any_number_of_threads_and_moves_nothing() {
    const Autoencoder before(shape({20, 33, 17}), 3, 1);
    std::vector<Matrix> first;
    isthmus::Evaluation expected;
    for (const int threads : {1, 2, 3, 4}) {
        Autoencoder model(shape({20, 33, 17}), 3, 1);
        TrainingOptions plain = options(OptimizerKind::momentum, threads);
        plain.corruption = Corruption::none;
        plain.dropout = 0.0f;
        Trainer trainer(model, ratings().popularity(), 60, plain);
        const isthmus::Evaluation found = trainer.evaluate(ratings().view(), {}, 0, {});
        CHECK_EQUAL(found.errors.cells, ratings().view().nnz());
        CHECK(found.penalty > 0.0);
        const std::vector<Matrix*> gradients = trainer.gradients();
        CHECK_EQUAL(gradients.size(), std::size_t{8});
        if (first.empty()) {
            expected = found;
            for (const Matrix* gradient : gradients) first.push_back(gradient->copy());
        }
        CHECK_EQUAL(found.loss(), expected.loss());
        for (std::size_t i = 0; i < first.size(); ++i) {
            CHECK(same_bits(*gradients[i], first[i]));
            CHECK(testing::padding_is_zero(gradients[i]->view()));
        }
        trainer.finish();
        CHECK(same_weights(model, before));
    }
}

void an_evaluation_needs_momentum_and_inputs_left_alone() {
    Autoencoder model(shape({9}), 1, 1);
    Trainer adam(model, ratings().popularity(), 60, options(OptimizerKind::adam, 1));
    CHECK_THROWS(adam.evaluate(ratings().view(), {}, 0, {}), std::logic_error);
    adam.finish();
    Trainer noisy(model, ratings().popularity(), 60, options(OptimizerKind::momentum, 1));
    CHECK_THROWS(noisy.evaluate(ratings().view(), {}, 0, {}), std::logic_error);
}

void columns_come_back_in_their_order() {
    const Autoencoder before(shape({9}), 1, 1);
    Autoencoder model(shape({9}), 1, 1);
    {
        const Trainer trainer(model, ratings().popularity(), 60, options(OptimizerKind::adam, 2));
        CHECK(!same_weights(model, before));
    }
    CHECK(same_weights(model, before));
}

void a_batch_is_left_by_exceptions_in_a_good_state() {
    Autoencoder model(shape({9}), 1, 1);
    Trainer trainer(model, ratings().popularity(), 60, options(OptimizerKind::sgd, 3));
    const auto stop = [](index_t done) {
        if (done > 0) throw std::runtime_error("stop");
    };
    for (int i = 0; i < 5; ++i) {
        CHECK_THROWS(trainer.run_epoch(ratings().view(), {}, 0, {1e-4f}, stop, {}),
                     std::runtime_error);
    }
    CHECK(std::isfinite(trainer.run_epoch(ratings().view(), {}, 1, {1e-4f}, {}, {}).squared_error));
    CHECK_THROWS(trainer.run_epoch(ratings().view(), {}, 2, {1e20f}, {}, {}), isthmus::Diverged);
}

void a_finished_trainer_refuses_to_go_on() {
    Autoencoder model(shape({9}), 1, 1);
    Trainer trainer(model, ratings().popularity(), 60, options(OptimizerKind::adam, 1));
    trainer.finish();
    trainer.finish();
    CHECK_THROWS(trainer.run_epoch(ratings().view(), {}, 0, {0.1f}, {}, {}), std::logic_error);
    CHECK_THROWS(trainer.evaluate(ratings().view(), {}, 0, {}), std::logic_error);
    CHECK_THROWS(trainer.gradients(), std::logic_error);
    CHECK_THROWS(trainer.keep_best(), std::logic_error);
    CHECK_THROWS(trainer.restore_best(), std::logic_error);
}

}  // namespace

int main() {
    training_gives_the_same_bits_at_any_number_of_threads();
    the_padding_of_weights_stays_zero();
    an_evaluation_has_the_same_bits_at_any_number_of_threads_and_moves_nothing();
    an_evaluation_needs_momentum_and_inputs_left_alone();
    columns_come_back_in_their_order();
    a_batch_is_left_by_exceptions_in_a_good_state();
    a_finished_trainer_refuses_to_go_on();
    return check::result();
}
