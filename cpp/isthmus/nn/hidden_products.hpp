#pragma once
// The three dense products of a hidden layer in training: of its inputs and its error with its
// weights, and of these two with each other, which is the weights' gradient. In float32 or, with
// operands that are rounded once a batch, in bfloat16 (half_products.hpp).

#include "isthmus/core/half_matrix.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/nn/half_products.hpp"

namespace isthmus {

class HiddenProducts {
public:
    // For batches of at most `rows` rows, and weights of inputs x units.
    HiddenProducts(index_t rows, index_t inputs, index_t units, Precision precision);

    // Before the products with these weights, which stay as they are until then.
    void read_weights(ConstMatrixView weights);

    // out[rows] = inputs[rows] weights.   inputs: batch x inputs, out: batch x units
    void forward(ConstMatrixView inputs, Range rows, MatrixView out);

    // out[rows] = error[rows] weights^T.   error: batch x units, out: batch x inputs
    void backward(ConstMatrixView error, Range rows, MatrixView out);

    // Before gradient(): what it multiplies, all rows of it.
    void read_batch(ConstMatrixView inputs, ConstMatrixView error);

    // out[units] = inputs[:, units]^T error.   out: inputs x units
    void gradient(Range units, MatrixView out) const;

private:
    Precision precision_;
    ConstMatrixView weights_, inputs_, error_;
    // in bfloat16
    PackedPanels weight_panels_, transposed_panels_, error_panels_;
    PackedWords input_words_, error_words_, transposed_words_;
    PackedRows transposed_inputs_{};
};

}  // namespace isthmus
