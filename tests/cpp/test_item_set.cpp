#include "isthmus/batches/item_set.hpp"

#include <set>
#include <vector>

#include "check.hpp"
#include "isthmus/core/random.hpp"

using isthmus::ItemSet;
using isthmus::Philox;
using isthmus::Stream;

namespace {

std::vector<std::int32_t> drained(ItemSet& set) {
    std::vector<std::int32_t> items;
    set.drain([&](std::int32_t item) { items.push_back(item); });
    return items;
}

void items_come_out_ascending_and_leave_the_set_empty() {
    const Philox draw(3, Stream::negatives, 0);
    for (const std::int64_t size : {1, 63, 64, 65, 4096, 4097, 10'000}) {
        ItemSet set(size);
        for (const std::uint32_t count : {0u, 1u, 40u, 3000u}) {
            std::set<std::int32_t> expected;
            for (std::uint32_t i = 0; i < count; ++i) {
                const std::uint64_t word = draw(count, i)[0];
                const auto item =
                    static_cast<std::int32_t>(word * static_cast<std::uint64_t>(size) >> 32);
                CHECK(set.insert(item) == expected.insert(item).second);
                if (i % 3 == 0) {
                    set.erase(item);
                    expected.erase(item);
                }
            }
            const std::vector<std::int32_t> ascending(expected.begin(), expected.end());
            CHECK(drained(set) == ascending);
            CHECK(drained(set).empty());
        }
    }
}

void the_complement_is_all_other_items() {
    for (const std::int64_t size : {1, 64, 100, 5000}) {
        ItemSet set(size);
        for (std::int32_t item = 0; item < size; item += 3) set.insert(item);
        std::vector<std::int32_t> others, expected;
        set.drain_complement([&](std::int32_t item) { others.push_back(item); });
        for (std::int32_t item = 0; item < size; ++item) {
            if (item % 3 != 0) expected.push_back(item);
        }
        CHECK(others == expected);
        CHECK(drained(set).empty());
        CHECK(set.insert(0));
    }
}

}  // namespace

int main() {
    items_come_out_ascending_and_leave_the_set_empty();
    the_complement_is_all_other_items();
    return check::result();
}
