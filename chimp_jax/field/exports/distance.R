# Density from camera-trap distances with the R package Distance (1.0.5 or later).
#   install.packages("Distance")
#   Rscript distance.R          # run it in the folder of @@flatfile@@
# Method: Howe et al. (2017), https://doi.org/10.1111/2041-210X.12790. Each camera is a point transect; Effort is the
# number of snapshot moments. The script fits two detection functions, draws them into distance.pdf, tests them, marks
# a fit that is unusable, and resamples the stations.

read_table <- function(file) {
  read.csv(file, na.strings = "", encoding = "UTF-8",
           colClasses = c(Region.Label = "character", Sample.Label = "character", distance = "numeric"))
}
flatfile <- read_table("@@flatfile@@")
# Tables with redraws of the true distances, if the export was asked for them (--redraws).
redraws <- sort(list.files("@@redraws@@", pattern = "^distance_flatfile_[0-9]+[.]csv$", full.names = TRUE))

# ---- Settings: look at distance.pdf, change them here, and run the script again ----
# Limits of the bins in metres; NULL: exact distances. A limit cannot lie inside a bin of the file.
cutpoints <- @@cutpoints@@
# Distances outside are left out. With cutpoints: the first and the last one.
truncation <- list(left = @@left@@, right = @@right@@)
# Share of the circle that the camera sees: angle of view in degrees / 360. The column multiplier has the same value.
sample_fraction <- @@theta@@ / 360
# Share of the time of the Effort in which animals are available to the camera (active, and not in a tree), with its
# standard error: for example data.frame(rate = 0.45, SE = 0.03). NULL: always available.
availability <- NULL
# Share of the animals in view that the detector finds, by distance in metres: linear between the rows, constant beyond
# them. The optional column animals tells of how many measured animals a share is. NULL: not accounted for.
completeness <- @@completeness@@
# Bootstrap resamples of the stations. 0 leaves the bootstrap out; take 1000 for a publication.
resamples <- 200
# --------------------------------------------------------------------------------------

library(Distance)
conversion <- convert_units("meter", NULL, "square kilometer")
multipliers <- if (is.null(availability)) NULL else list(creation = availability)
titles <- c(hn = "half-normal", hr = "hazard-rate")

attempt <- function(what, value) {   # tells why a step failed, and the script goes on
  tryCatch(value, error = function(fault) {
    cat(what, "failed:", conditionMessage(fault), "\n")
    NULL
  })
}

if (!is.null(cutpoints)) {
  inside <- sapply(cutpoints, function(limit) any(flatfile$distbegin < limit & limit < flatfile$distend, na.rm = TRUE))
  if (any(inside)) {
    stop("the cutpoint ", cutpoints[inside][1], " lies inside a bin of @@flatfile@@; ",
         "run chimp-distance estimate with these cutpoints")
  }
  truncation <- list(left = cutpoints[1], right = cutpoints[length(cutpoints)])
}
# Returns a row for each distance in the truncation, and one for each station without any, because its effort counts.
within_truncation <- function(table) {
  stations <- table[, c("Region.Label", "Area", "Sample.Label", "Effort", "distance", "object")]
  # With bins the middle of each bin, so that R chooses the same bin as the file.
  if (!is.null(cutpoints)) stations$distance <- (table$distbegin + table$distend) / 2
  outside <- !is.na(stations$distance) &
    (stations$distance < truncation$left | stations$distance > truncation$right)
  stations$distance[outside] <- NA
  stations$object[outside] <- NA
  with_distance <- unique(stations$Sample.Label[!is.na(stations$distance)])
  stations[!is.na(stations$distance) |
             (!stations$Sample.Label %in% with_distance & !duplicated(stations$Sample.Label)), ]
}
fit_function <- function(detections, key) {
  ds(detections, truncation = truncation, transect = "point", key = key, adjustment = NULL,
     cutpoints = cutpoints, convert_units = conversion)
}
stations <- within_truncation(flatfile)
n_outside <- sum(!is.na(flatfile$distance)) - sum(!is.na(stations$distance))
if (n_outside > 0) cat(n_outside, "distances outside the truncation are left out\n")
detections <- stations[!is.na(stations$distance), c("object", "distance")]
if (nrow(detections) == 0) stop("@@flatfile@@ has no distance to fit")

fits <- list(hn = attempt("The half-normal fit", fit_function(detections, "hn")),
             hr = attempt("The hazard-rate fit", fit_function(detections, "hr")))
fits <- Filter(Negate(is.null), fits)
if (length(fits) == 0) stop("no detection function could be fitted")

# ---- Densities, which fits are usable, pictures and tests ----
strata <- if (length(unique(stations$Region.Label)) > 1) ~Region.Label else ~1
why_unusable <- function(p_a, p_a_cv, density_cv) {
  reasons <- c(
    "the CV of P_a is above 100 % or unknown" = is.na(p_a_cv) || p_a_cv > 1,
    "the CV of the density is above 100 % or unknown" = is.na(density_cv) || density_cv > 1,
    "P_a is at its limit" = is.na(p_a) || p_a < 0.001 || p_a > 0.999
  )
  paste(names(reasons)[reasons], collapse = "; ")
}
# Moments of one visit are not independent. So the tests reject too often, and AIC prefers models that are too complex
# (Howe et al. 2019 use QAIC). Look at the pictures, too: the first bins decide the density.
results <- list()
pdf("distance.pdf")
invisible(attempt("The histogram", hist(flatfile$distance, breaks = 30, xlab = "Distance (m)",
                                        main = "All distances of the file")))
for (key in names(fits)) {
  cat("\nKey function:", titles[[key]], "\n")
  about <- attempt("The summary", summary(fits[[key]]))
  if (!is.null(about)) print(about)
  estimate <- attempt("The density", dht2(
    fits[[key]], flatfile = stations, strat_formula = strata, convert_units = conversion,
    sample_fraction = sample_fraction, multipliers = multipliers))
  if (is.null(about) || is.null(estimate)) next
  print(estimate, report = "density")   # animals per square kilometre
  total <- as.data.frame(estimate)[nrow(estimate), ]
  p_a <- as.numeric(about$ds$average.p)[1]
  p_a_cv <- as.numeric(c(about$ds$average.p.se, NA))[1] / p_a
  unusable <- why_unusable(p_a, p_a_cv, total$Abundance_CV)
  title <- function(what) paste0(titles[[key]], " ", what, if (unusable != "") "\nUNUSABLE: see the printed reasons")
  attempt("The picture", plot(fits[[key]], showpoints = FALSE, xlab = "Distance (m)",
                              main = title("detection function")))
  attempt("The picture", plot(fits[[key]], showpoints = FALSE, pdf = TRUE, xlab = "Distance (m)",
                              main = title("density of the observed distances")))
  # Binned distances: chi-square. Exact distances: Cramer-von Mises, and a Q-Q plot.
  fit_test <- attempt("The test of the fit", gof_ds(fits[[key]], plot = is.null(cutpoints)))
  p_value <- if (is.null(cutpoints)) fit_test$dsgof$CvM$p else fit_test$chisquare$chi1$p
  cat("\nGoodness of fit,", titles[[key]], "\n")
  if (!is.null(fit_test)) print(fit_test)
  results[[key]] <- data.frame(
    fit = titles[[key]], AIC = AIC(fits[[key]])$AIC[1], p_test = if (is.null(p_value)) NA else p_value, P_a = p_a,
    P_a_CV = p_a_cv, density = total$Abundance / total$Area, CV = total$Abundance_CV, unusable = unusable)
}
invisible(dev.off())
results <- do.call(rbind, results)

# ---- Bootstrap over stations, of the usable fits ----
usable <- rownames(results)[results$unusable == ""]
density_of <- function(ests, fit) data.frame(Label = ests$individuals$D$Label, Density = ests$individuals$D$Estimate)
if (resamples > 0 && length(unique(stations$Sample.Label)) < 2) {
  cat("\nNo bootstrap: one station cannot be resampled\n")
} else if (resamples > 0) {
  set.seed(1)
  for (key in usable) {
    boot <- attempt("The bootstrap", bootdht(
      fits[[key]], flatfile = stations, resample_transects = TRUE, nboot = resamples, summary_fun = density_of,
      convert_units = conversion, sample_fraction = sample_fraction, multipliers = multipliers,
      progress_bar = "none"))
    for (label in unique(boot$Label)) {
      densities <- boot$Density[boot$Label == label]
      shown <- quantile(densities, c(0.5, 0.025, 0.975), na.rm = TRUE)
      cat(sprintf("\nBootstrap, %s, %s: median %.4g per square km, 95 %% interval %.4g to %.4g (%d of %d resamples)\n",
                  titles[[key]], label, shown[1], shown[2], shown[3], sum(!is.na(densities)), resamples))
    }
  }
}

# ---- The error of the distances ----
# The tables in @@redraws@@ have true distances, drawn as the out-of-fold predictions of the models say that true
# distances scatter around estimates. Each table is fitted. Rubin's rules combine the densities on the logarithmic
# scale, with the degrees of freedom of Barnard and Rubin (1999).
fit_redraw <- function(file, key) {
  stations <- within_truncation(read_table(file))
  detections <- stations[!is.na(stations$distance), c("object", "distance")]
  fit <- fit_function(detections, key)
  total <- as.data.frame(dht2(
    fit, flatfile = stations, strat_formula = strata, convert_units = conversion,
    sample_fraction = sample_fraction, multipliers = multipliers))
  total <- total[nrow(total), ]
  share <- as.numeric(summary(fit)$ds$average.p)[1]
  share_cv <- as.numeric(c(summary(fit)$ds$average.p.se, NA))[1] / share
  if (why_unusable(share, share_cv, total$Abundance_CV) != "") stop("the fit is unusable")
  each <- ceiling(resamples / length(redraws))
  resampled <- if (resamples > 0 && length(unique(stations$Sample.Label)) > 1) bootdht(
    fit, flatfile = stations, resample_transects = TRUE, nboot = each, summary_fun = density_of,
    convert_units = conversion, sample_fraction = sample_fraction, multipliers = multipliers, progress_bar = "none")
  list(density = total$Abundance / total$Area, cv = total$Abundance_CV,
       resampled = resampled$Density[resampled$Label == "Total"])
}
combine_redraws <- function(densities, cvs, n_stations) {   # Rubin's rules
  within <- mean(log(1 + cvs^2))
  between <- if (length(densities) > 1) (1 + 1 / length(densities)) * var(log(densities)) else 0
  total <- within + between
  missing <- max(between / total, 1e-9)
  complete <- max(n_stations - 1, 1)
  of_redraws <- max(length(densities) - 1, 1) / missing^2
  of_stations <- (complete + 1) / (complete + 3) * complete * (1 - missing)
  freedom <- of_redraws * of_stations / (of_redraws + of_stations)
  middle <- exp(mean(log(densities)))
  limits <- middle * exp(c(-1, 1) * qt(0.975, freedom) * sqrt(total))
  list(density = middle, cv = sqrt(exp(total) - 1), limits = limits, unusable = why_no_interval(total, limits, freedom))
}
# With few stations the interval can span many powers of ten.
why_no_interval <- function(variance, limits, freedom) {
  if (is.na(variance)) return(if (resamples > 0) "its variance is unknown" else "")
  paste(collapse = "; ", c(
    if (exp(variance) - 1 > 1) "the CV of the density is above 100 %",
    if (limits[2] > 100 * limits[1])
      sprintf("with %.1f degrees of freedom the 95 %% interval spans more than a factor of 100", freedom)))
}
combined_text <- function(one) {   # for the screen
  if (one$unusable != "") return(sprintf("density %.4g  UNUSABLE: %s", one$density, one$unusable))
  if (is.na(one$cv)) return(sprintf("density %.4g (no interval without resamples)", one$density))
  sprintf("density %.4g (CV %.0f %%)  95 %% interval %.4g to %.4g", one$density, 100 * one$cv, one$limits[1],
          one$limits[2])
}
corrected <- list()
# A heap of estimates can make a fit unusable whose redraws are not.
for (key in if (length(redraws) > 1) rownames(results)) {
  found <- lapply(redraws, function(file) attempt(paste("The fit of", file), fit_redraw(file, key)))
  found <- Filter(Negate(is.null), found)
  if (length(found) < 0.8 * length(redraws) || length(found) < 2) {
    cat("\nNo correction,", titles[[key]], ": too few redraws could be fitted\n")
    next
  }
  one <- combine_redraws(sapply(found, `[[`, "density"), sapply(found, `[[`, "cv"),
                         length(unique(stations$Sample.Label)))
  corrected[[key]] <- c(one, list(n = length(found)))
  resampled <- unlist(lapply(found, `[[`, "resampled"))
  if (length(resampled) > 0) {
    shown <- quantile(resampled, c(0.5, 0.025, 0.975), na.rm = TRUE)
    cat(sprintf("\nBootstrap with redraws, %s: median %.4g per square km, 95 %% interval %.4g to %.4g\n", titles[[key]],
                shown[1], shown[2], shown[3]))
  }
}

# ---- Animals that the detector does not find ----
# A detection function of ds() is 1 at the camera. An animal at the distance r is in the table with the probability
# g(r) c(r): g is the detection function, c the completeness. So the likelihood of a distance is r g(r) c(r) over its
# integral, and P_a is the mean of g(r) c(r) over the area in view. The bootstrap draws stations, and the shares of c.
key_function <- list(
  hn = function(r, par) exp(-r^2 / (2 * exp(par[1])^2)),
  hr = function(r, par) 1 - exp(-(pmax(r, 1e-9) / exp(par[1]))^-exp(par[2]))
)
fit_found <- function(distances, key, shares) {   # returns P_a
  edges <- if (is.null(cutpoints)) c(truncation$left, truncation$right) else cutpoints
  pieces <- if (is.null(cutpoints)) 500 else 50   # of a bin, for the integrals
  width <- diff(edges) / pieces
  r <- rep(edges[-length(edges)], each = pieces) + rep(width, each = pieces) * (seq_len(pieces) - 0.5)
  last <- length(shares)   # approx() needs two rows
  found <- approx(c(completeness$distance, completeness$distance[last] + 1), shares[c(seq_len(last), last)], r,
                  rule = 2)$y
  area <- 2 * r * rep(width, each = pieces) / edges[length(edges)]^2 * found
  counts <- tabulate(findInterval(distances, edges, rightmost.closed = TRUE), length(edges) - 1)
  negative <- function(par) {
    if (any(abs(par) > 12)) return(1e10)
    seen <- colSums(matrix(area * key_function[[key]](r, par), pieces))
    if (sum(seen) <= 0) return(1e10)
    each <- if (is.null(cutpoints)) sum(log(pmax(key_function[[key]](distances, par), 1e-300))) -
      length(distances) * log(sum(seen)) else sum(counts * log(pmax(seen / sum(seen), 1e-300)))
    -each
  }
  start <- log(c(sqrt(mean(distances^2) / 2), 3))[seq_len(if (key == "hn") 1 else 2)]
  best <- optim(start, negative, method = if (key == "hn") "BFGS" else "Nelder-Mead", control = list(maxit = 2000))
  sum(area * key_function[[key]](r, best$par))
}
found_density <- function(table, key, shares) {   # animals per square km, all regions together
  distances <- table$distance[!is.na(table$distance)]
  p_a <- fit_found(distances, key, shares)
  places <- table[!duplicated(table$Sample.Label), ]
  rate <- if (is.null(availability)) 1 else availability$rate
  each <- sapply(split(places, places$Region.Label), function(region) {
    n <- sum(!is.na(table$distance) & table$Region.Label == region$Region.Label[1])
    view <- p_a * pi * (truncation$right / 1000)^2 * sample_fraction * sum(region$Effort)
    c(density = n / view / rate, area = region$Area[1])
  })
  list(p_a = p_a, density = sum(each["density", ] * each["area", ]) / sum(each["area", ]))
}
resampled_density <- function(table, key) {
  rows <- split(seq_len(nrow(table)), table$Sample.Label)
  region <- table$Region.Label[sapply(rows, `[`, 1)]
  drawn <- unlist(lapply(split(seq_along(rows), region), function(i) i[sample.int(length(i), replace = TRUE)]))
  copies <- lapply(seq_along(drawn), function(i) transform(table[rows[[drawn[i]]], ], Sample.Label = paste(i)))
  shares <- completeness$completeness
  n <- completeness$animals
  if (!is.null(n)) shares <- pmax(rbinom(length(n), n, shares), 0.5) / n
  found_density(do.call(rbind, copies), key, shares)$density
}
fit_completeness <- function(key) {
  tables <- if (length(redraws) > 1) lapply(redraws, function(file) within_truncation(read_table(file))) else
    list(stations)
  each <- if (resamples > 0) max(ceiling(resamples / length(tables)), 10) else 0
  found <- lapply(tables, function(table) {
    one <- found_density(table, key, completeness$completeness)
    several <- vapply(seq_len(each), function(i) {
      tryCatch(resampled_density(table, key), error = function(fault) NA_real_)
    }, 0)
    variance <- if (each > 0) var(log(several), na.rm = TRUE) else NA
    if (!is.null(availability$SE)) variance <- variance + (availability$SE / availability$rate)^2
    c(one$density, sqrt(exp(variance) - 1), one$p_a)
  })
  found <- do.call(cbind, found)
  c(combine_redraws(found[1, ], found[2, ], length(unique(stations$Sample.Label))), list(p_a = mean(found[3, ])))
}
with_completeness <- list()
for (key in if (!is.null(completeness)) usable) {
  set.seed(1)
  with_completeness[[key]] <- attempt("The fit with the completeness", fit_completeness(key))
}

cat("\nAnimals per square km, all regions together. P_a: share of the animals in view that is detected. Pictures:",
    "distance.pdf\n")
p_text <- function(p) if (is.na(p)) "unknown" else if (p < 0.001) "< 0.001" else sprintf("= %.3f", p)
for (key in rownames(results)) {
  line <- results[key, ]
  verdict <- if (line$unusable == "") "usable" else paste0("UNUSABLE: ", line$unusable)
  cat(sprintf("%-11s  density %.4g (CV %.0f %%)  P_a %.3g (CV %.0f %%)  test: p %s  AIC %.1f  %s\n", line$fit,
              line$density, 100 * line$CV, line$P_a, 100 * line$P_a_CV, p_text(line$p_test), line$AIC, verdict))
}
if (length(redraws) == 0) {
  cat("The error of the distances is not accounted for: export with --redraws if members have out-of-fold rows.\n")
}
for (key in names(corrected)) {
  cat(sprintf("%-11s  with the error of the distances: %s  %d of %d redraws\n", titles[[key]],
              combined_text(corrected[[key]]), corrected[[key]]$n, length(redraws)))
}
if (is.null(completeness)) {
  cat("Animals that the detector does not find are not accounted for: export with --completeness.\n")
} else {
  cat("Completeness of the detector:", sprintf("%.3g at %g m", completeness$completeness, completeness$distance),
      sep = "  ", fill = TRUE)
}
for (key in names(with_completeness)) {
  about <- paste0("with the completeness of the detector",
                  if (length(redraws) > 1) " and the error of the distances" else "")
  cat(sprintf("%-11s  %s: %s  P_a %.3g\n", titles[[key]], about, combined_text(with_completeness[[key]]),
              with_completeness[[key]]$p_a))
}
if (is.null(availability)) cat("Availability is not accounted for: see `availability` at the top of the script.\n")
if (length(usable) == 0) {
  cat("No fit of @@flatfile@@ is usable.",
      "Look at distance.pdf, then choose other cutpoints or another truncation.\n")
  quit(status = 3)
}
if (length(usable) < length(titles)) cat("Do not compare the AIC of an unusable fit.\n")
final <- if (is.null(completeness)) corrected else with_completeness
if ((length(redraws) > 1 || !is.null(completeness)) && !any(sapply(final, `[[`, "unusable") == "")) {
  cat("No corrected density is usable. Add stations, or choose other cutpoints or another truncation.\n")
  quit(status = 3)
}
