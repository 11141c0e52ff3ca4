#pragma once
// The weights of the models that are stacks of layers.

#include <string>
#include <vector>

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

// NumPy views of what belongs to the weights, in their order, by their names.
inline std::vector<std::string> weight_names(std::size_t count) {
    std::vector<std::string> names = {"encoder.weights", "encoder.bias", "decoder.weights",
                                      "decoder.bias"};
    for (std::size_t i = names.size(); i < count; ++i) {
        names.push_back("hidden." + std::to_string((i - 4) / 2 + 1) +
                        (i % 2 == 0 ? ".weights" : ".bias"));
    }
    return names;
}

inline py::dict arrays_by_weight(const std::vector<Matrix*>& matrices, const py::object& owner) {
    const std::vector<std::string> names = weight_names(matrices.size());
    py::dict arrays;
    for (std::size_t i = 0; i < matrices.size(); ++i) {
        arrays[py::str(names[i])] = matrix_array(*matrices[i], owner);
    }
    return arrays;
}

// Those of a trainer's optimizer, as "encoder.weights.0"; `self` is the trainer.
template <class Trainer>
py::dict optimizer_state(const py::object& self) {
    const std::vector<Matrix*> states = self.cast<Trainer&>().state();
    const std::vector<std::string> names = weight_names(states.size() / 2);
    py::dict arrays;
    for (std::size_t i = 0; i < states.size(); ++i) {
        if (states[i]->empty()) continue;
        const std::string name = names[i / 2] + "." + std::to_string(i % 2);
        arrays[py::str(name)] = matrix_array(*states[i], self);
    }
    return arrays;
}

// The weights that a trainer keeps, or none.
template <class Trainer>
py::dict best_weights(const py::object& self) {
    return arrays_by_weight(self.cast<Trainer&>().best(), self);
}

}  // namespace isthmus
