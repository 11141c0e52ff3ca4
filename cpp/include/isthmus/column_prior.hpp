#pragma once
// What is known of a column before its first cell: that it is drawn around the mean of the columns
// that training saw.

#include "isthmus/types.hpp"

namespace isthmus {

// A column's weights w and bias b cost, beside a penalty on |w - weights|^2,
//     level_penalty (level - the mean column's)^2,   level = w . center + b
// the level being the column's output at a typical row's code: it, and not the bias alone, is what
// a first cell tells of. A column may have several outputs, as a softmax has levels.
struct ColumnPrior {
    ConstMatrixView weights;        // outputs x k, of the mean column
    const float* bias = nullptr;    // outputs, of the mean column
    const float* center = nullptr;  // k
    double level_penalty = 0.0;
};

}  // namespace isthmus
