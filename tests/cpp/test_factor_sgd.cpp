// SGD's blocks wait for each other without locks: with more threads than this machine may have
// cores, the result is that of one thread, and the thread sanitizer has something to watch.

#include "check.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/models/biased_mf.hpp"
#include "isthmus/models/factor_sgd.hpp"

using namespace isthmus;

namespace {

struct Data {
    std::vector<std::int64_t> indptr{0};
    std::vector<std::int32_t> indices;
    std::vector<float> values;
    CsrView view;

    Data(index_t users, index_t items) {
        const Philox draw(1, Stream::noise, 0);
        for (index_t u = 0; u < users; ++u) {
            for (index_t i = 0; i < items; ++i) {
                const auto row = static_cast<std::uint32_t>(u);
                const auto words = draw(row, static_cast<std::uint32_t>(i));
                if (words[0] % 2 == 0) continue;
                indices.push_back(static_cast<std::int32_t>(i));
                values.push_back(static_cast<float>(words[1] % 5));
            }
            indptr.push_back(static_cast<std::int64_t>(indices.size()));
        }
        view = {users, items, indptr.data(), indices.data(), values.data()};
    }
};

BiasedMF trained(const Data& data, int num_threads) {
    BiasedMF model(data.view.rows, data.view.cols, 20, 2.0f, 0.5f, 7, num_threads);
    const FactorSgd sgd(data.view, 3, num_threads);
    for (index_t epoch = 0; epoch < 3; ++epoch) {
        sgd.run_epoch(model, {{0.1f, 3.0f, 0.5f}, {0.1f, 1.0f, 0.5f}}, 0.02f, epoch, num_threads,
                      {});
    }
    return model;
}

bool equal(const Matrix& a, const Matrix& b) {
    for (index_t r = 0; r < a.rows(); ++r) {
        for (index_t j = 0; j < a.cols(); ++j) {
            if (a.row(r)[j] != b.row(r)[j]) return false;
        }
    }
    return true;
}

}  // namespace

int main() {
    const Data data(500, 300);
    const BiasedMF one = trained(data, 1);
    CHECK(std::isfinite(one.user_factors.row(0)[0]));
    for (const int num_threads : {2, 3, 8}) {
        const BiasedMF many = trained(data, num_threads);
        CHECK(equal(one.user_factors, many.user_factors));
        CHECK(equal(one.item_factors, many.item_factors));
        CHECK(equal(one.user_bias, many.user_bias));
        CHECK(equal(one.item_bias, many.item_bias));
    }
    // a block per diagonal could not go wrong
    CHECK(FactorSgd(data.view, 3, 1).nnz() > 4 * 4 * 4096);
    return check::result();
}
