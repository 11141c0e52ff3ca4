#pragma once
// Weights in training with their optimizer's state, and copies of the best weights.

#include <cstdint>
#include <vector>

#include "isthmus/core/half_matrix.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/nn/optimizers.hpp"

namespace isthmus {

// A matrix of weights and its optimizer's state: of the same shape or, in bfloat16, of split rows
// and of as many halves.
struct TrainedMatrix {
    MatrixView weights;
    MatrixView state[2];
    // How many steps each row has taken, where rows without a cell in a batch skip its step until a
    // batch reads them; null: all rows take every step at once.
    std::int32_t* taken = nullptr;
    // A bias for each row, which steps with it and has a decay of its own, and its state; or null.
    float* bias = nullptr;
    float* bias_state[2] = {};
    Precision precision = Precision::float32;
    // What rounding draws a row's noise by; null: its place.
    const std::int32_t* number = nullptr;
};

struct Parameter {
    Matrix* weights = nullptr;
    Matrix state[2];  // as many as the optimizer has
    Precision precision = Precision::float32;
    std::vector<std::int32_t> taken;   // steps that each row has taken, if rows may skip them
    std::vector<std::int32_t> number;  // see TrainedMatrix; empty for none

    Parameter() = default;
    Parameter(Matrix& weights, OptimizerKind kind, Precision precision = Precision::float32);

    TrainedMatrix view() {
        TrainedMatrix trained{weights->view(), {state[0].view(), state[1].view()}};
        trained.precision = precision;
        if (!taken.empty()) trained.taken = taken.data();
        if (!number.empty()) trained.number = number.data();
        return trained;
    }

    // One step of `size` floats from `begin` on (on a cache line; padding counts), along
    // `gradient`. In float32 alone.
    void step(const float* gradient, index_t begin, index_t size, const OptimizerStep& step);

    // The same for all of them.
    void step(const Matrix& gradient, const OptimizerStep& step);
};

class BestWeights {
public:
    void keep(const std::vector<Matrix*>& weights);

    // Restores the last kept copies, if there are any.
    void restore(const std::vector<Matrix*>& weights) const;

    std::vector<Matrix*> copies() {
        std::vector<Matrix*> all;
        for (Matrix& copy : copies_) all.push_back(&copy);
        return all;
    }

private:
    std::vector<Matrix> copies_;
};

}  // namespace isthmus
