#include "isthmus/optimizers.hpp"

#include <stdexcept>

namespace isthmus {

OptimizerKind optimizer_from_name(const std::string& name) {
    if (name == "sgd") return OptimizerKind::sgd;
    if (name == "momentum") return OptimizerKind::momentum;
    if (name == "adagrad") return OptimizerKind::adagrad;
    if (name == "adam") return OptimizerKind::adam;
    if (name == "rprop") return OptimizerKind::rprop;
    throw std::invalid_argument("unknown optimizer '" + name +
                                "': choose sgd, momentum, adagrad, adam or rprop");
}

OptimizerOptions optimizer_options(const std::string& name) {
    OptimizerOptions options;
    options.kind = optimizer_from_name(name);
    if (options.kind == OptimizerKind::adagrad) options.epsilon = 1e-10f;
    return options;
}

int optimizer_states(OptimizerKind kind) {
    switch (kind) {
        case OptimizerKind::sgd: return Sgd::states;
        case OptimizerKind::momentum: return Momentum::states;
        case OptimizerKind::adagrad: return Adagrad::states;
        case OptimizerKind::adam: return Adam::states;
        case OptimizerKind::rprop: return Rprop::states;
    }
    return 0;
}

}  // namespace isthmus
