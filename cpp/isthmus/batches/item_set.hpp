#pragma once
// A set of items as bits, with a second level of bits for the words that have any. Items come out
// in ascending order without sorting, and emptying the set takes no pass over all items.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "isthmus/core/types.hpp"

namespace isthmus {

class ItemSet {
public:
    // Of items in [0, items).
    explicit ItemSet(index_t items)
        : items_(items),
          words_(static_cast<std::size_t>(round_up(items, kBits) / kBits)),
          used_(static_cast<std::size_t>(round_up(items, kBits * kBits) / (kBits * kBits))) {}

    // Returns whether the item is new.
    bool insert(std::int32_t item) {
        const auto at = static_cast<std::size_t>(item);
        std::uint64_t& word = words_[at / kBits];
        if (word == 0) used_[at / (kBits * kBits)] |= bit(at / kBits);
        const bool fresh = (word & bit(at)) == 0;
        word |= bit(at);
        return fresh;
    }

    void erase(std::int32_t item) {
        const auto at = static_cast<std::size_t>(item);
        words_[at / kBits] &= ~bit(at);
    }

    // Calls body(item) for every item, ascending, and empties the set.
    template <class Body>
    void drain(Body&& body) {
        for (std::size_t group = 0; group < used_.size(); ++group) {
            for_each_bit(used_[group], group, [&](std::size_t at) {
                for_each_bit(words_[at], at,
                             [&](std::size_t item) { body(static_cast<std::int32_t>(item)); });
                words_[at] = 0;
            });
            used_[group] = 0;
        }
    }

    // Calls body(item) for every item that is not there, ascending, and empties the set.
    template <class Body>
    void drain_complement(Body&& body) {
        for (std::size_t at = 0; at < words_.size(); ++at) {
            const index_t rest = items_ - static_cast<index_t>(at) * kBits;
            const std::uint64_t there = rest < kBits ? (std::uint64_t{1} << rest) - 1 : ~0ull;
            for_each_bit(~words_[at] & there, at,
                         [&](std::size_t item) { body(static_cast<std::int32_t>(item)); });
            words_[at] = 0;
        }
        std::fill(used_.begin(), used_.end(), 0);
    }

private:
    static constexpr index_t kBits = 64;

    static std::uint64_t bit(std::size_t at) { return std::uint64_t{1} << (at % kBits); }

    template <class Body>
    static void for_each_bit(std::uint64_t word, std::size_t at, Body&& body) {
        for (; word != 0; word &= word - 1) {
            body(at * kBits + static_cast<std::size_t>(__builtin_ctzll(word)));
        }
    }

    index_t items_;
    std::vector<std::uint64_t> words_;
    std::vector<std::uint64_t> used_;  // a bit for each word: set if it may have any
};

}  // namespace isthmus
