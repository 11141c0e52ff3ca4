#include "isthmus/core/random.hpp"

#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "check.hpp"

using isthmus::Philox;
using isthmus::Stream;
using Words = std::array<std::uint32_t, 4>;

namespace {

// From the known-answer tests of the Random123 distribution.
void known_answers() {
    const Philox zeros(0, static_cast<Stream>(0), 0);
    CHECK(zeros(0, 0) == (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));

    constexpr std::uint32_t ones = 0xffffffff;
    const Philox all_ones(~std::uint64_t{0}, static_cast<Stream>(ones), ones);
    CHECK(all_ones(ones, ones) == (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));

    const Philox pi(0x299f31d0a4093822, static_cast<Stream>(0x03707344), 0x13198a2e);
    CHECK(pi(0x85a308d3, 0x243f6a88) == (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

void words_at_many_positions_are_the_first_ones() {
    const Philox draw(12345678901234567u, Stream::corruption, 3);
    std::vector<std::int32_t> positions(37);
    std::iota(positions.begin(), positions.end(), 0);
    positions.back() = 2147483647;
    std::vector<std::uint32_t> words(positions.size() + 1, 42);
    draw.words(5, positions.data(), 37, words.data());
    for (std::size_t i = 0; i < positions.size(); ++i) {
        CHECK_EQUAL(words[i], draw(5, static_cast<std::uint32_t>(positions[i]))[0]);
    }
    CHECK_EQUAL(words.back(), 42u);
}

void words_of_many_rows_are_those_of_the_transposed_matrix() {
    const Philox draw(12345678901234567u, Stream::corruption, 3);
    std::vector<std::int32_t> rows(37);
    std::iota(rows.begin(), rows.end(), 3);
    rows.back() = 2147483000;
    std::vector<std::uint32_t> words(rows.size() + 1, 42);
    draw.words_of_rows(rows.data(), 37, 5, words.data());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const std::int32_t position = 5;
        std::uint32_t word = 0;
        draw.words(static_cast<std::uint32_t>(rows[i]), &position, 1, &word);
        CHECK_EQUAL(words[i], word);
    }
    CHECK_EQUAL(words.back(), 42u);
}

void all_words_at_many_positions_are_theirs() {
    const Philox draw(12345678901234567u, Stream::negatives, 3);
    constexpr std::uint32_t kFirst = 7;
    for (const std::uint32_t count : {1u, 16u, 32u, 37u, 100u}) {
        std::vector<std::uint32_t> words(4 * count + 1, 42);
        draw.all_words(5, kFirst, count, words.data());
        for (std::uint32_t i = 0; i < count; ++i) {
            const Words expected = draw(5, kFirst + i);
            for (std::uint32_t w = 0; w < 4; ++w) CHECK_EQUAL(words[w * count + i], expected[w]);
        }
        CHECK_EQUAL(words.back(), 42u);
    }
}

void draws_follow_from_the_words() {
    const Philox draw(7, Stream::noise, 1);
    for (std::uint32_t position = 0; position < 1000; ++position) {
        const Words words = draw(2, position);
        const float u = draw.uniform(2, position);
        CHECK(u >= 0.0f && u < 1.0f);
        CHECK_EQUAL(u, static_cast<float>(words[0] >> 8) / 16777216.0f);
        CHECK(std::isfinite(draw.normal(2, position)));
    }
    CHECK_EQUAL(Philox::to_uniform(0), 0.0f);
    CHECK_EQUAL(Philox::to_uniform(0xffffffff), 1.0f - 0x1p-24f);
}

void normals_at_many_positions_are_those_at_each() {
    const Philox draw(11, Stream::latent, 2);
    std::vector<float> normals(3001, 42.0f);
    double sum = 0.0, squares = 0.0;
    draw.normals(9, 3000, normals.data());
    for (std::uint32_t position = 0; position < 3000; ++position) {
        const float value = normals[position];
        CHECK_CLOSE(value, draw.normal(9, position), 1e-5);
        sum += double{value};
        squares += double{value} * value;
    }
    CHECK_EQUAL(normals.back(), 42.0f);
    // standard deviations of .018 and .026
    CHECK_CLOSE(sum / 3000, 0.0, 0.08);
    CHECK_CLOSE(squares / 3000, 1.0, 0.12);
}

void streams_follow_layers() {
    CHECK_EQUAL(static_cast<int>(Stream::dropout + 2), 18);
    CHECK_EQUAL(static_cast<int>(Stream::initialization + 0), 64);
}

void shuffles_are_for_good() {
    std::vector<std::int32_t> items(10);
    std::iota(items.begin(), items.end(), 0);
    isthmus::shuffle(items, 2024, 3);
    CHECK(items == (std::vector<std::int32_t>{2, 6, 0, 3, 1, 7, 5, 8, 9, 4}));

    std::vector<std::int32_t> none, one{17};
    isthmus::shuffle(none, 1, 1);
    isthmus::shuffle(one, 1, 1);
    CHECK(none.empty());
    CHECK_EQUAL(one[0], 17);
}

}  // namespace

int main() {
    known_answers();
    words_at_many_positions_are_the_first_ones();
    words_of_many_rows_are_those_of_the_transposed_matrix();
    all_words_at_many_positions_are_theirs();
    draws_follow_from_the_words();
    normals_at_many_positions_are_those_at_each();
    streams_follow_layers();
    shuffles_are_for_good();
    return check::result();
}
