"""Write ``sklearn_ann/data/wages.csv`` from the ``Wage.csv`` of the ISLP package.

    python docs/scripts/make_wages.py PATH/TO/ISLP/data/Wage.csv

The region is the same in every row and goes; the wage goes because its logarithm
stays; the numbers in front of the labels ("2. Married") go as well.
"""

import sys
from pathlib import Path

import pandas as pd

COLUMNS = {
    "year": "year",
    "age": "age",
    "maritl": "marital_status",
    "race": "race",
    "education": "education",
    "jobclass": "job_class",
    "health": "health",
    "health_ins": "health_insurance",
    "logwage": "log_wage",
}
LABELS = {
    "<=Good": "good or worse",
    ">=Very Good": "very good or better",
    "< HS Grad": "no high school diploma",
    "HS Grad": "high school",
    "College Grad": "college",
}
TARGET = Path(__file__).parents[1] / "sklearn_ann" / "data" / "wages.csv"


def plain_labels(column: pd.Series) -> pd.Series:
    """Turn ``2. Married`` into ``married``."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    bare = column.str.replace(r"^\d+\. ", "", regex=True)
    return bare.replace(LABELS).str.lower()


if __name__ == "__main__":
    wages = pd.read_csv(sys.argv[1])[list(COLUMNS)].rename(columns=COLUMNS)
    wages.apply(plain_labels).round({"log_wage": 4}).to_csv(
        TARGET, index=False, lineterminator="\n"
    )
