"""Writes the R script for a flat file: package Distance (>= 1.0.5), point transects, half-normal and hazard-rate."""

_SCRIPT = """\
# Density from camera-trap distances with the R package Distance (1.0.5 or later).
#   install.packages("Distance")
#   Rscript distance.R          # run it in the folder of {flatfile}
# Method: Howe et al. (2017), https://doi.org/10.1111/2041-210X.12790. Each camera is a point transect; Effort is the
# number of snapshot moments.
# This script does not do two steps. Do them before you trust a density:
#   1. Look at the histogram, then choose truncation and cutpoints.
#   2. Account for the share of time when animals are available to the camera (argument multipliers of dht2).
library(Distance)

flatfile <- read.csv("{flatfile}", na.strings = "", encoding = "UTF-8",
                     colClasses = c(Region.Label = "character", Sample.Label = "character"))
cutpoints <- {cutpoints}
truncation <- {truncation}
sample_fraction <- {theta} / 360   # angle of view, degrees; the column multiplier has the same value
conversion <- convert_units("meter", NULL, "square kilometer")

# `stations` keeps the stations without detections, because their effort counts. `detections` has only the distances.
stations <- flatfile[, c("Region.Label", "Area", "Sample.Label", "Effort", "distance", "object")]
if (!is.null(cutpoints)) {{   # the middle of each bin, so that R chooses the same bin as the file
  stations$distance <- (flatfile$distbegin + flatfile$distend) / 2
}}
detections <- stations[!is.na(stations$distance), c("object", "distance")]
if (nrow(detections) == 0) stop("{flatfile} has no distance to fit")

fits <- list(
  hn = ds(detections, truncation = truncation, transect = "point", key = "hn", adjustment = NULL,
          cutpoints = cutpoints, convert_units = conversion),
  hr = ds(detections, truncation = truncation, transect = "point", key = "hr", adjustment = NULL,
          cutpoints = cutpoints, convert_units = conversion)
)
# Distances of one animal visit are not independent, so AIC prefers models that are too complex (Howe et al.
# 2019 use QAIC).
print(AIC(fits$hn, fits$hr))

strata <- if (length(unique(stations$Region.Label)) > 1) ~Region.Label else ~1
for (key in names(fits)) {{
  cat("\\nKey function:", key, "\\n")
  print(summary(fits[[key]]))
  estimate <- dht2(fits[[key]], flatfile = stations, strat_formula = strata, convert_units = conversion,
                   sample_fraction = sample_fraction)
  print(estimate, report = "density")   # animals per square kilometre
}}
"""


def distance_script(flatfile: str, theta_deg: float, cutpoints=None, truncation: float | None = None) -> str:
    """Returns R code that loads the flat file, fits two detection functions and prints densities.

    flatfile: its file name. cutpoints [K]: metres, ascending, or None. truncation: metres; if it is None, the last
    cutpoint, or without cutpoints the largest distance.
    """
    if cutpoints is not None:
        left, right = f'{cutpoints[0]:.10g}', f'{cutpoints[-1]:.10g}'
    else:
        left, right = '0', 'max(flatfile$distance, na.rm = TRUE)' if truncation is None else f'{truncation:.10g}'
    return _SCRIPT.format(
        flatfile=flatfile,
        theta=f'{theta_deg:.10g}',
        cutpoints='NULL' if cutpoints is None else f'c({", ".join(f"{point:.10g}" for point in cutpoints)})',
        truncation=f'list(left = {left}, right = {right})',
    )
