#include "registration.hpp"
#include "scores.hpp"

namespace isthmus {

namespace {

bool within(const IndexArray& indices, index_t size) {
    bool inside = true;
    for (index_t i = 0; i < indices.size(); ++i) {
        inside = inside && indices.data()[i] >= 0 && indices.data()[i] < size;
    }
    return inside;
}

FloatArray bind_score_pairs(const Scores& scorer, const IndexArray& queries,
                            const IndexArray& candidates, int num_threads) {
    require(queries.size() == candidates.size(), "queries and candidates must pair up");
    require(within(queries, scorer.source().queries()) &&
                within(candidates, scorer.source().candidates()),
            "queries and candidates must lie within the scorer's");
    FloatArray out(queries.size());
    float* scores = out.mutable_data();
    {
        const py::gil_scoped_release release;
        score_pairs(scorer.source(), queries.data(), candidates.data(), queries.size(), num_threads,
                    scores);
    }
    return out;
}

py::tuple bind_top_k(const Scores& scorer, index_t n,
                     const OptionalArray<std::int64_t>& seen_indptr,
                     const OptionalArray<std::int32_t>& seen_indices, int num_threads) {
    require(n >= 1, "n must be at least 1");
    const CsrView seen = pattern_view(scorer, seen_indptr, seen_indices, "seen");
    IndexArray items({scorer.source().queries(), n});
    FloatArray scores({scorer.source().queries(), n});
    std::int32_t* items_out = items.mutable_data();
    float* scores_out = scores.mutable_data();
    {
        const py::gil_scoped_release release;
        top_k(scorer.source(), seen, n, num_threads, items_out, scores_out);
    }
    return py::make_tuple(items, scores);
}

void register_scoring(py::module_& module) {
    py::class_<Scores>(module, "Scores", py::module_local(),
                       "Scores of queries for candidates, made a block at a time.")
        .def("score_pairs", &bind_score_pairs, py::arg("queries"), py::arg("candidates"),
             py::kw_only(), py::arg("num_threads"),
             "The score of each (queries[i], candidates[i]).")
        .def("top_k", &bind_top_k, py::arg("n"), py::kw_only(), py::arg("seen_indptr") = py::none(),
             py::arg("seen_indices") = py::none(), py::arg("num_threads"),
             "The n best candidates of each query and their scores, best first, equal ones by "
             "candidate; stored cells of `seen` are left out, short lists end in -1 and NaN.");

    py::class_<Scorer, Scores>(module, "Scorer", py::module_local(),
                               "score(q, c) = activation(query_q . candidate_c + query_bias_q + "
                               "candidate_bias_c) / scale + query_offset_q + candidate_offset_c. "
                               "The arrays are not copied if they are float32 with contiguous "
                               "rows.")
        .def(py::init<FloatArray, FloatArray, const std::string&, float, OptionalArray<float>,
                      OptionalArray<float>, OptionalArray<float>, OptionalArray<float>>(),
             py::arg("queries"), py::arg("candidates"), py::kw_only(),
             py::arg("activation") = "identity", py::arg("scale") = 1.0f,
             py::arg("query_bias") = py::none(), py::arg("candidate_bias") = py::none(),
             py::arg("query_offset") = py::none(), py::arg("candidate_offset") = py::none());

    py::class_<ProductScorer, Scores>(module, "ProductScorer", py::module_local(),
                                      "score(q, c) = sum of x_qi weights_ic over the cells of the "
                                      "sparse row q. The arrays are not copied.")
        .def(py::init<Array<std::int64_t>, IndexArray, Array<float>, FloatArray>(),
             py::arg("indptr").noconvert(), py::arg("indices").noconvert(),
             py::arg("values").noconvert(), py::arg("weights"));

    py::class_<WeightedScorer, Scores>(module, "WeightedScorer", py::module_local(),
                                       "score(q, c) = constant + the weighted sum of several "
                                       "scores, which must have as many queries and candidates "
                                       "each.")
        .def(py::init<py::tuple, std::vector<float>, float>(), py::arg("scores"),
             py::arg("weights"), py::arg("constant"));
}

const Registration registration_of_scoring(&register_scoring, Registration::Turn::first);

}  // namespace

}  // namespace isthmus
