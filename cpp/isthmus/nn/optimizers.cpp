#include "isthmus/nn/optimizers.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "isthmus/nn/optimizer_policies.hpp"

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

OptimizerStep::OptimizerStep(const OptimizerOptions& options, float rate_, index_t step,
                             float decay_)
    : kind(options.kind),
      rate(rate_),
      epsilon(options.epsilon),
      momentum(options.momentum),
      beta1(options.beta1),
      beta2(options.beta2),
      decay(decay_) {
    if (kind != OptimizerKind::adam) return;
    const auto power = static_cast<double>(step);
    const double root = std::sqrt((1.0 - std::pow(double{beta2}, power)) / (1.0 - double{beta2}));
    const double correction = (1.0 - double{beta1}) / (1.0 - std::pow(double{beta1}, power));
    rate = static_cast<float>(rate * root * correction);
    epsilon = static_cast<float>(epsilon * root);
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
