#pragma once
// The best n of a stream of scores, shared by recommending and ranking.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "isthmus/core/csr.hpp"
#include "isthmus/core/types.hpp"

namespace isthmus {

constexpr index_t kTileCandidates = 1024;  // scored at once: 4 KiB a query

// The score of what is left out.
constexpr float kNever = -std::numeric_limits<float>::infinity();

struct Scored {
    float score;
    std::int32_t item;
};

inline bool better(const Scored& a, const Scored& b) {
    return a.score > b.score || (a.score == b.score && a.item < b.item);
}

// The n best of a stream of candidates in ascending order: a heap with the worst kept on top. A
// score of NaN is not among them.
class Best {
public:
    void reset(index_t n) {
        size_ = static_cast<std::size_t>(n);
        heap_.clear();
        heap_.reserve(size_);
    }

    // The score to exceed: a later candidate of equal score is worse.
    float threshold() const { return heap_.size() < size_ ? kNever : heap_.front().score; }

    void offer(float score, std::int32_t item) {
        if (heap_.size() == size_) {
            std::pop_heap(heap_.begin(), heap_.end(), better);
            heap_.back() = {score, item};
        } else {
            heap_.push_back({score, item});
        }
        std::push_heap(heap_.begin(), heap_.end(), better);
    }

    // Offers the scores of candidates first, first + 1, ...
    void offer_all(const float* scores, index_t first, index_t count) {
        constexpr index_t kStride = 16;
        float least = threshold();
        for (index_t begin = 0; begin < count; begin += kStride) {
            const index_t end = std::min(begin + kStride, count);
            float top = kNever;  // and no score of NaN, which would hide those after it
            for (index_t c = begin; c < end; ++c) top = scores[c] > top ? scores[c] : top;
            if (!(top > least)) continue;
            for (index_t c = begin; c < end; ++c) {
                if (scores[c] > least) {
                    offer(scores[c], static_cast<std::int32_t>(first + c));
                    least = threshold();
                }
            }
        }
    }

    // Best first. Nothing may be offered afterwards.
    const std::vector<Scored>& sorted() {
        std::sort_heap(heap_.begin(), heap_.end(), better);
        return heap_;
    }

private:
    std::size_t size_ = 0;
    std::vector<Scored> heap_;
};

// Walks a row's seen candidates along with its tiles: those in [first, first + width) get kNever.
// `at` is where the walk is; it starts at the row's beginning.
inline void leave_out(const CsrView& seen, index_t row, index_t first, index_t width, index_t& at,
                      float* scores) {
    for (; at < seen.indptr[row + 1] && seen.indices[at] < first + width; ++at) {
        scores[seen.indices[at] - first] = kNever;
    }
}

}  // namespace isthmus
