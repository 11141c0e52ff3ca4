#pragma once
// The weights of the models that are stacks of layers.

#include <string>

#include "convert.hpp"
#include "pybind.hpp"

namespace isthmus {

// NumPy views of a model's encoder, hidden layers and decoder, by name; `self` is the model.
template <class Model>
py::dict layer_weights(const py::object& self) {
    auto& model = self.cast<Model&>();
    py::dict arrays;
    arrays["encoder.weights"] = matrix_array(model.encoder, self);
    arrays["encoder.bias"] = matrix_array(model.encoder_bias, self);
    for (std::size_t l = 0; l < model.hidden.size(); ++l) {
        const std::string name = "hidden." + std::to_string(l + 1);
        arrays[py::str(name + ".weights")] = matrix_array(model.hidden[l].weights, self);
        arrays[py::str(name + ".bias")] = matrix_array(model.hidden[l].bias, self);
    }
    arrays["decoder.weights"] = matrix_array(model.decoder, self);
    arrays["decoder.bias"] = matrix_array(model.decoder_bias, self);
    return arrays;
}

}  // namespace isthmus
