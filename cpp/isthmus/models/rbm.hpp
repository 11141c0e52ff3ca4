#pragma once
// A restricted Boltzmann machine on the observed cells of a row (Salakhutdinov, Mnih, Hinton, ICML
// 2007): a softmax unit of K levels a rating, binary hidden units.
//
//     p(v_i = k | h) = softmax over k of (b_ik + W_ik . h)
//     p(h = 1 | v)   = sigmoid(c + sum over the row's cells of W_i,v_i)
//
// A row has no unit for columns without a cell: nothing is computed for them.

#include <cstdint>
#include <vector>

#include "isthmus/core/csr.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/nn/epoch.hpp"

namespace isthmus {

constexpr index_t kMaxLevels = 100;

// Rows of cells whose values are levels, below the model's K.
struct LevelRows {
    CsrView cells;                         // without values
    const std::uint8_t* levels = nullptr;  // of each cell
};

struct Rbm {
    // W is drawn from N(0, deviation^2); everything else is 0.
    Rbm(index_t cols, index_t levels, index_t hidden, float deviation, std::uint64_t seed,
        int num_threads);

    index_t cols() const { return visible_bias.rows(); }
    index_t levels() const { return visible_bias.cols(); }
    index_t hidden() const { return hidden_bias.cols(); }

    Matrix weights;       // W: (cols x K) x hidden, a column's levels together
    Matrix visible_bias;  // b: cols x K
    Matrix hidden_bias;   // c: 1 x hidden
};

// codes[r] = p(h = 1 | row r).   codes: rows x hidden
void encode_rows(const Rbm& model, const LevelRows& rows, int num_threads, MatrixView codes);

struct RbmOptions {
    std::vector<float> values;  // of the levels, for the reconstruction error
    float momentum = 0.9f;
    float decay = 0.001f;  // of W
    index_t batch_size = 100;
    std::uint64_t seed = 0;
    int num_threads = 1;
};

// Contrastive divergence by mini-batches. A gradient is a mean over the batch's rows; a column that
// none of them has a cell of keeps its weights, momentum and decay included.
class RbmTrainer {
public:
    RbmTrainer(Rbm& model, RbmOptions options);

    const Rbm& model() const { return model_; }

    // One pass over the rows that hold any cell, with `steps` of Gibbs sampling a batch. Returns
    // the squared error of each first reconstruction's expected value, summed over the cells.
    // `poll` is called before each batch with the rows done. Throws Diverged.
    double run_epoch(const LevelRows& rows, index_t epoch, int steps, float rate, const Poll& poll);

private:
    // A cell of the batch, listed by column.
    struct Cell {
        std::int32_t row;
        std::uint8_t level, sampled;
    };

    double sample_rows(const LevelRows& rows, const std::int32_t* ids, index_t count, index_t epoch,
                       int steps);
    double sample_row(const LevelRows& rows, std::int32_t id, index_t place, index_t epoch,
                      int steps, MatrixView scratch, std::uint32_t* words);
    void update(const LevelRows& rows, const EpochBatch& batch, float rate);
    void list_columns(const LevelRows& rows, const std::int32_t* ids, index_t count);
    void update_column(index_t listed, float share, float rate, MatrixView gradient);
    void update_hidden_bias(index_t count, float rate);

    Rbm& model_;
    RbmOptions options_;
    Matrix weights_step_, visible_step_, hidden_step_;  // momentum
    Matrix positive_, negative_;         // p(h | data), p(h | reconstruction): batch x hidden
    std::vector<double> squared_error_;  // by row of the batch
    std::vector<index_t> cell_begin_;    // of each row, in the batch
    std::vector<std::uint8_t> sampled_;  // levels of the reconstruction
    std::vector<index_t> column_count_;  // all 0 between batches
    std::vector<std::int32_t> units_;    // 0, 1, 2, ...: positions of the hidden units
    std::vector<std::int32_t> touched_;
    std::vector<index_t> list_begin_;
    std::vector<Cell> list_;
};

}  // namespace isthmus
