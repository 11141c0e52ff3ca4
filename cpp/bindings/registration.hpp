#pragma once
// How a register_<thing>.cpp adds what it binds to every module, without a list of them all:
//
//     const Registration registration(&register_thing);

#include <vector>

#include "pybind.hpp"

namespace isthmus {

class Registration {
public:
    using Function = void (*)(py::module_& module);

    // pybind11 must know a class before it is a base, and names it in signatures only from then on:
    // classes that other files use are registered first.
    enum class Turn { first, after };

    // Make it a constant of a file.
    explicit Registration(Function function, Turn turn = Turn::after) {
        all(turn).push_back(function);
    }

    static void run(py::module_& module) {
        for (const Turn turn : {Turn::first, Turn::after}) {
            for (const Function function : all(turn)) function(module);
        }
    }

private:
    static std::vector<Function>& all(Turn turn) {
        static std::vector<Function> first, after;
        return turn == Turn::first ? first : after;
    }
};

}  // namespace isthmus
