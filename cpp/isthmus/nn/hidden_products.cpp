#include "isthmus/nn/hidden_products.hpp"

#include "isthmus/nn/dense.hpp"

namespace isthmus {

HiddenProducts::HiddenProducts(index_t rows, index_t inputs, index_t units, Precision precision)
    : precision_(precision) {
    if (precision == Precision::float32) return;
    weight_panels_ = PackedPanels(inputs, units);
    transposed_panels_ = PackedPanels(inputs, units);
    error_panels_ = PackedPanels(rows, units);
    input_words_ = PackedWords(rows, inputs);
    error_words_ = PackedWords(rows, units);
    transposed_words_ = PackedWords(rows, inputs);
}

void HiddenProducts::read_weights(ConstMatrixView weights) {
    weights_ = weights;
    if (precision_ == Precision::float32) return;
    weight_panels_.pack(weights, false);
    transposed_panels_.pack_transposed(weights);
}

void HiddenProducts::forward(ConstMatrixView inputs, Range rows, MatrixView out) {
    if (precision_ == Precision::float32) {
        multiply_rows(inputs, weights_, rows.begin, rows.end, out);
    } else {
        multiply(input_words_.pack(rows_of(inputs, rows), rows.begin), weight_panels_, false,
                 rows_of(out, rows));
    }
}

void HiddenProducts::backward(ConstMatrixView error, Range rows, MatrixView out) {
    if (precision_ == Precision::float32) {
        multiply_rows_transposed(error, weights_, rows.begin, rows.end, out);
    } else {
        multiply(error_words_.pack(rows_of(error, rows), rows.begin), transposed_panels_, false,
                 rows_of(out, rows));
    }
}

void HiddenProducts::read_batch(ConstMatrixView inputs, ConstMatrixView error) {
    inputs_ = inputs;
    error_ = error;
    if (precision_ == Precision::float32) return;
    transposed_inputs_ = transposed_words_.pack_transposed(inputs);
    error_panels_.pack(error, true);
}

void HiddenProducts::gradient(Range units, MatrixView out) const {
    const MatrixView to = rows_of(out, units);
    if (precision_ == Precision::float32) {
        ConstMatrixView inputs = inputs_;
        inputs.data += units.begin;
        inputs.cols = units.size();
        multiply_columns(inputs, error_, inputs.rows, 0, error_.cols, to);
    } else {
        PackedRows inputs = transposed_inputs_;
        inputs.data += units.begin * inputs.row_stride;
        inputs.rows = units.size();
        multiply(inputs, error_panels_, false, to);
    }
}

}  // namespace isthmus
