#pragma once
// Activation functions by name. activation_functions.hpp computes them.

#include <string>

#include "isthmus/core/types.hpp"

namespace isthmus {

enum class Activation { identity, sigmoid, centered_sigmoid, tanh, relu, elu, selu, swish };

// Throws std::invalid_argument naming the choices.
Activation activation_from_name(const std::string& name);

// Over `width` floats in place, whole vectors and aligned, for callers that have no vectors:
// values = f(values), or f'(values), or exp(values).
void apply_activation(Activation kind, float* values, index_t width);
void apply_derivative(Activation kind, float* values, index_t width);
void apply_exp(float* values, index_t width);

// log(1 + exp(z)) and its slope, likewise.
void apply_cross_entropy(const float* z, float* loss, float* slope, index_t width);

}  // namespace isthmus
