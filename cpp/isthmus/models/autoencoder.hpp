#pragma once
// A stack of layers between sparse rows and their reconstruction: sparse input, dense hidden
// layers, masked output. What AutoRec is, at any depth.
//
//     h_1 = g(X V + mu),  h_l = g(h_{l-1} A_l + a_l),  reconstruction = f(h_L W^T + b)
//
// on observed cells alone (Sedhain, Menon, Sanner, Xie, WWW 2015, eq. 1-2).

#include <cstdint>
#include <functional>
#include <vector>

#include "isthmus/batches/batch.hpp"
#include "isthmus/batches/column_layout.hpp"
#include "isthmus/core/csr.hpp"
#include "isthmus/core/half_matrix.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/nn/activations.hpp"
#include "isthmus/nn/layers.hpp"
#include "isthmus/nn/reduction.hpp"

namespace isthmus {

struct AutoencoderShape {
    index_t inputs = 0;           // columns of the sparse matrix
    std::vector<index_t> hidden;  // units of each hidden layer, at least one
    Activation hidden_activation = Activation::sigmoid;
    Activation output_activation = Activation::identity;
};

struct Autoencoder : LayerStack {
    AutoencoderShape shape;

    Autoencoder() = default;
    Autoencoder(AutoencoderShape shape, std::uint64_t seed, int num_threads,
                const InputShare& share = {});

    index_t code_size() const { return shape.hidden.back(); }
};

struct Dropout {
    float rate = 0.0f;
    std::uint64_t seed = 0;
    std::uint32_t epoch = 0;
};

// The memory of a pass over a batch, allocated once: a few batch x k blocks.
class Workspace {
public:
    // At most `rows` rows a batch; `trains` adds what the backward pass needs. `most` is the
    // precision that weights may come in beside whole floats.
    Workspace(const AutoencoderShape& shape, const ColumnLayout& layout, index_t rows, bool trains,
              bool drops, Precision most = Precision::float32);

    index_t rows() const { return before.front().rows(); }

    Batch batch;
    // Per slice: its columns' share of X V, then of dH, and a row more for what goes with it to
    // other machines.
    std::vector<Matrix> partial;
    std::vector<Matrix> before, after;  // per hidden layer: z and g(z)
    std::vector<Matrix> error;          // per hidden layer: dloss/dz, and a row more
    std::vector<Matrix> kept;           // per hidden layer, with dropout: 0 or 1 / (1 - rate)
    Precision precision = Precision::float32;  // of the weights, as they are now
    HalfMatrix codes, first_error;             // in bfloat16: after.back() and error.front()
    std::vector<double> squared_error;         // slices x rows
};

// The encoder: fills before and after of every hidden layer for the assembled batch.
// `ids` are the batch rows' places in the matrix (they seed the dropout). `prepare` (or none) is
// called with each block of columns before its weights are read, from any thread.
void encode(const Autoencoder& model, Workspace& work, const std::int32_t* ids,
            const Dropout& dropout, const Reduction& reduce, int num_threads,
            const std::function<void(index_t)>& prepare = {});

// Codes (rows x last hidden layer) of every row of `matrix`, uncorrupted, no more at a time
// than `work` has room for. Rows without a stored cell get the code of an empty input.
void encode_matrix(const Autoencoder& model, Workspace& work, const ColumnLayout& layout,
                   const CsrView& matrix, const RowTransform& transform, int num_threads,
                   MatrixView codes, const Reduction& reduce = {});

}  // namespace isthmus
