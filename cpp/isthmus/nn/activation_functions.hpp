#pragma once
// Activation functions on vectors: the value, and the derivative written in terms of what the
// forward pass kept, so that nothing is computed twice.

#include "isthmus/core/simd.hpp"
#include "isthmus/nn/activations.hpp"

namespace isthmus {

constexpr float kSeluScale = 1.0507009873554804934193349852946f;
constexpr float kSeluAlpha = 1.6732632423543772848170429916717f;

ISTHMUS_INLINE Floats sigmoid(Floats z) { return 1.0f / (1.0f + exp(-z)); }

ISTHMUS_INLINE Floats tanh(Floats z) {
    // Near 0 the quotient below cancels; the odd series is exact to float precision there.
    const Floats square = z * z;
    const Floats series =
        z * (1.0f + square * (-1.0f / 3 + square * (2.0f / 15 + square * (-17.0f / 315))));
    const Floats e = exp(-2.0f * select(z < 0.0f, -z, z));
    const Floats magnitude = (1.0f - e) / (1.0f + e);
    const Floats quotient = select(z < 0.0f, -magnitude, magnitude);
    return select(square < 0.0144f, series, quotient);
}

// exp(z) - 1, without cancellation near 0
ISTHMUS_INLINE Floats expm1(Floats z) {
    const Floats series =
        z * (1.0f + z * (0.5f + z * (1.0f / 6 + z * (1.0f / 24 + z * (1.0f / 120)))));
    return select(z * z < 0.01f, series, exp(z) - 1.0f);
}

// The cross-entropy of sigmoid(z) and a target of 0, log(1 + exp(z)), and its slope, sigmoid(z).
struct CrossEntropy {
    Floats loss, slope;
};
ISTHMUS_INLINE CrossEntropy cross_entropy(Floats z) {
    // with e = exp(-|z|), log(1 + e) = 2 artanh(e / (2 + e)), whose argument is at most 1/3; and
    // one division for both quotients
    const Floats e = exp(select(z < 0.0f, z, -z));
    const Floats one = 1.0f + e, two = 2.0f + e;
    const Floats inverse = 1.0f / (one * two);
    const Floats s = e * (one * inverse);
    const Floats q = s * s;
    const Floats series =
        1.0f + q * (1.0f / 3 + q * (1.0f / 5 + q * (1.0f / 7 + q * (1.0f / 9 + q * (1.0f / 11)))));
    return {max(z, Floats{}) + 2.0f * s * series,
            select(z < 0.0f, e, broadcast(1.0f)) * (two * inverse)};
}

ISTHMUS_INLINE Floats softplus(Floats z) { return cross_entropy(z).loss; }

ISTHMUS_INLINE Floats activate(Activation kind, Floats z) {
    switch (kind) {
        case Activation::sigmoid: return sigmoid(z);
        case Activation::centered_sigmoid: return 0.5f * tanh(0.5f * z);
        case Activation::tanh: return tanh(z);
        case Activation::relu: return max(z, Floats{});
        case Activation::elu: return select(z > 0.0f, z, expm1(min(z, Floats{})));
        case Activation::selu:
            return kSeluScale * select(z > 0.0f, z, kSeluAlpha * expm1(min(z, Floats{})));
        case Activation::swish: return z * sigmoid(z);
        case Activation::identity: break;
    }
    return z;
}

// f'(z) from z and y = f(z)
ISTHMUS_INLINE Floats derivative(Activation kind, Floats z, Floats y) {
    const Floats one = broadcast(1.0f);
    switch (kind) {
        case Activation::sigmoid: return y * (1.0f - y);
        case Activation::centered_sigmoid: return 0.25f - y * y;
        case Activation::tanh: return 1.0f - y * y;
        case Activation::relu: return select(z > 0.0f, one, Floats{});
        case Activation::elu: return select(z > 0.0f, one, y + 1.0f);
        case Activation::selu:
            return select(z > 0.0f, broadcast(kSeluScale), y + kSeluScale * kSeluAlpha);
        case Activation::swish: {
            const Floats s = sigmoid(z);
            return s + y * (1.0f - s);
        }
        case Activation::identity: break;
    }
    return one;
}

}  // namespace isthmus
