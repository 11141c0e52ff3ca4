#include "isthmus/core/csr.hpp"

#include <algorithm>
#include <vector>

#include "isthmus/core/parallel.hpp"

namespace isthmus {

std::vector<std::int32_t> filled_rows(const CsrView& matrix) {
    std::vector<std::int32_t> rows;
    for (index_t r = 0; r < matrix.rows; ++r) {
        if (matrix.row_nnz(r) > 0) rows.push_back(static_cast<std::int32_t>(r));
    }
    return rows;
}

void transpose(const CsrView& matrix, int num_threads, std::int64_t* indptr, std::int32_t* indices,
               float* values) {
    // Each part of the rows counts its cells by column, learns where they go, and puts them there:
    // behind those of the parts before it, so that the result does not depend on the parts.
    const index_t most = matrix.cols > 0 ? matrix.nnz() / matrix.cols + 1 : 1;
    const index_t parts = std::clamp<index_t>(num_threads, 1, most);  // counts no larger than cells
    std::vector<std::vector<std::int64_t>> place(static_cast<std::size_t>(parts));
    const auto rows_of = [&](index_t part) {
        const std::int64_t* begin = matrix.indptr;
        const std::int64_t* end = begin + matrix.rows;
        const auto first_of = [&](index_t p) {
            const std::int64_t cell = matrix.indptr[0] + matrix.nnz() * p / parts;
            return p == parts ? matrix.rows : std::lower_bound(begin, end, cell) - begin;
        };
        return std::pair<index_t, index_t>{first_of(part), first_of(part + 1)};
    };
    with_team(num_threads, [&] {
        parallel_for(parts, num_threads, [&](index_t part) {
            auto& counts = place[static_cast<std::size_t>(part)];
            counts.assign(static_cast<std::size_t>(matrix.cols), 0);
            const auto [first, last] = rows_of(part);
            for (index_t i = matrix.indptr[first]; i < matrix.indptr[last]; ++i) {
                ++counts[static_cast<std::size_t>(matrix.indices[i])];
            }
        });
        std::int64_t total = 0;
        for (index_t c = 0; c < matrix.cols; ++c) {
            indptr[c] = total;
            for (auto& counts : place) {
                const std::int64_t size = counts[static_cast<std::size_t>(c)];
                counts[static_cast<std::size_t>(c)] = total;
                total += size;
            }
        }
        indptr[matrix.cols] = total;
        parallel_for(parts, num_threads, [&](index_t part) {
            auto& next = place[static_cast<std::size_t>(part)];
            const auto [first, last] = rows_of(part);
            for (index_t row = first; row < last; ++row) {
                for (index_t i = matrix.indptr[row]; i < matrix.indptr[row + 1]; ++i) {
                    const std::int64_t to = next[static_cast<std::size_t>(matrix.indices[i])]++;
                    indices[to] = static_cast<std::int32_t>(row);
                    values[to] = matrix.values[i];
                }
            }
        });
    });
}

}  // namespace isthmus
