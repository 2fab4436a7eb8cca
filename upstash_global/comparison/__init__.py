"""The comparison of 2021: one region, edge caches and a global database, as clients far and near see them."""
