"""From a data set to lists with filters: python examples/films.py [ml-100k]."""

import sys

from isthmus import EASE, datasets, train_test_split
from isthmus.reranking import cap_groups

name = sys.argv[1] if len(sys.argv) > 1 else "ml-100k"
ratings = datasets.fetch(name)  # downloaded once
titles = datasets.fetch_items(name)
train, test = train_test_split(ratings.binarize(4), test_size=0.2, random_state=0, by="user")
model = EASE().fit(train)
print("ndcg@10", round(model.evaluate(test, "ndcg@10")["ndcg@10"], 3))

years = {item: title[-5:-1] for item, title in titles.items() if title.endswith(")")}
recent = [item for item, year in years.items() if year >= "1990" and item in ratings.item_ids]
disliked = ratings.select(ratings.values <= 2)
users = ratings.user_ids[:3]
items, scores = model.recommend(users, n=50, candidates=recent, exclude=disliked)
items, scores = cap_groups(items, scores, years, most=2, n=10)  # two films of a year
for user, row in zip(users, items, strict=True):
    print(user, [titles[item] for item in row.tolist() if item >= 0])
