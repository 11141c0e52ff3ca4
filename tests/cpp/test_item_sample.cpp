#include "isthmus/batches/item_sample.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "check.hpp"
#include "random_data.hpp"

using isthmus::CsrView;
using isthmus::ItemSample;
using isthmus::OptimizerKind;
using isthmus::Parameter;
using isthmus::Philox;
using isthmus::SampledParameter;
using isthmus::Stream;
using testing::index_t;
using testing::Matrix;
using testing::Sparse;

namespace {

constexpr index_t kItems = 200;
const std::vector<std::int32_t> kIds = {7, 2, 11};

const Sparse& rows() {
    static const Sparse sparse = testing::random_sparse(12, kItems, 3);
    return sparse;
}

ItemSample chosen(index_t drawn, std::uint32_t batch) {
    ItemSample sample(kItems, drawn);
    const Philox draw(5, Stream::negatives, 1);
    sample.choose(rows().view(), kIds.data(), static_cast<index_t>(kIds.size()), draw, batch);
    return sample;
}

bool in_a_row(std::int32_t item) {
    return std::any_of(kIds.begin(), kIds.end(), [&](std::int32_t id) {
        const auto at = static_cast<std::size_t>(id);
        return std::binary_search(rows().indices.begin() + rows().indptr[at],
                                  rows().indices.begin() + rows().indptr[at + 1], item);
    });
}

void a_sample_has_the_rows_items_and_others_that_stand_for_all() {
    const ItemSample sample = chosen(15, 4);
    const std::vector<std::int32_t>& items = sample.items();
    CHECK(std::is_sorted(items.begin(), items.end()));
    CHECK(std::adjacent_find(items.begin(), items.end()) == items.end());
    index_t own = 0;
    for (std::int32_t item = 0; item < kItems; ++item) {
        own += in_a_row(item);
        if (in_a_row(item)) CHECK(std::binary_search(items.begin(), items.end(), item));
    }
    CHECK_EQUAL(sample.size(), own + 15);
    const double weight = std::log(static_cast<double>(kItems - own) / 15.0);
    for (std::size_t place = 0; place < items.size(); ++place) {
        CHECK_CLOSE(sample.log_weight()[place], in_a_row(items[place]) ? 0.0 : weight, 1e-6);
    }
    for (const std::int32_t id : kIds) {
        for (auto i = sample.rows().indptr[id]; i < sample.rows().indptr[id + 1]; ++i) {
            const auto place = static_cast<std::size_t>(sample.rows().indices[i]);
            CHECK_EQUAL(items[place], rows().indices[static_cast<std::size_t>(i)]);
        }
    }
    CHECK(items == chosen(15, 4).items());
    CHECK(items != chosen(15, 5).items());
}

void a_sample_can_have_all_items() {
    for (const index_t drawn : {kItems, 3 * kItems}) {
        const ItemSample sample = chosen(drawn, 0);
        CHECK_EQUAL(sample.size(), kItems);
        for (index_t place = 0; place < kItems; ++place) {
            CHECK_EQUAL(sample.log_weight()[place], 0.0f);
        }
    }
}

// The softmax's denominator over many samples, and its logarithm.
void the_denominator_is_unbiased_and_its_logarithm_is_too_small() {
    const Matrix logits = testing::random_matrix(1, kItems, 8);
    double all = 0.0;
    for (index_t item = 0; item < kItems; ++item) all += std::exp(3.0 * logits.row(0)[item]);
    double before = 0.0;
    for (const index_t drawn : {10, 40}) {
        double mean = 0.0, log_mean = 0.0;
        constexpr std::uint32_t kBatches = 4000;
        for (std::uint32_t batch = 0; batch < kBatches; ++batch) {
            const ItemSample sample = chosen(drawn, batch);
            double total = 0.0;
            for (std::size_t place = 0; place < sample.items().size(); ++place) {
                const double logit = 3.0 * logits.row(0)[sample.items()[place]];
                total += std::exp(logit + double{sample.log_weight()[place]});
            }
            mean += total / kBatches;
            log_mean += std::log(total) / kBatches;
        }
        CHECK_CLOSE(mean / all, 1.0, 0.02);
        const double bias = log_mean - std::log(all);
        CHECK(bias < 0.0);
        CHECK(before == 0.0 || bias > before / 2.0);
        before = bias;
    }
}

void weights_and_state_go_out_and_come_back() {
    Matrix weights = testing::random_matrix(kItems, 9, 1);
    Matrix bias = testing::random_matrix(1, kItems, 2);
    const Matrix weights_before = weights.copy(), bias_before = bias.copy();
    Parameter whole(weights, OptimizerKind::adam), whole_bias(bias, OptimizerKind::adam);
    SampledParameter some(whole, SampledParameter::Axis::rows, OptimizerKind::adam);
    SampledParameter some_bias(whole_bias, SampledParameter::Axis::columns, OptimizerKind::adam);
    for (const auto& items : {std::vector<std::int32_t>{3, 70, 199}, {0, 1, 2, 3, 4, 5, 6, 198}}) {
        Parameter& part = some.gather(items, 2);
        Parameter& part_bias = some_bias.gather(items, 2);
        for (std::size_t i = 0; i < items.size(); ++i) {
            const auto place = static_cast<index_t>(i);
            CHECK_EQUAL(part.weights->row(place)[8], weights.row(items[i])[8]);
            CHECK_EQUAL(part.state[1].row(place)[8], whole.state[1].row(items[i])[8]);
            part.weights->row(place)[8] += 1.0f;
            part.state[1].row(place)[8] += 2.0f;
            part_bias.weights->row(0)[place] += 3.0f;
        }
        some.scatter(items, 2);
        some_bias.scatter(items, 2);
    }
    for (std::int32_t item = 0; item < kItems; ++item) {
        const float times = item == 3 ? 2.0f : item <= 6 || item == 70 || item >= 198 ? 1.0f : 0.0f;
        CHECK_CLOSE(weights.row(item)[8], weights_before.row(item)[8] + times, 1e-6);
        CHECK_EQUAL(weights.row(item)[7], weights_before.row(item)[7]);
        CHECK_EQUAL(whole.state[1].row(item)[8], 2.0f * times);
        CHECK_CLOSE(bias.row(0)[item], bias_before.row(0)[item] + 3.0f * times, 1e-6);
    }
}

}  // namespace

int main() {
    a_sample_has_the_rows_items_and_others_that_stand_for_all();
    a_sample_can_have_all_items();
    the_denominator_is_unbiased_and_its_logarithm_is_too_small();
    weights_and_state_go_out_and_come_back();
    return check::result();
}
