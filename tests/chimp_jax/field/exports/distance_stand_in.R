# A stand-in for the R package Distance 2.0.1, for distance.R: source() it in the place of library(Distance).
#
# The functions have the arguments of the package's manual, so a wrong name stops the script, and they check what the
# package checks. ds() fits half-normal and hazard-rate functions to point transects by maximum likelihood, with bins
# or exact distances and left truncation; dht2() gives density and encounter-rate variance (estimator P2). Their
# densities of DuikerCameraTraps equal those of the package (test_distance_script.py). What is simpler here: no
# adjustments but cosines of the uniform key, no covariates or group sizes; the variance of a stratified total leaves out the shared detection function.
# FAILS: keys whose fit stops, as a fit can in the package.
FAILS <- strsplit(Sys.getenv("STAND_IN_FAILS"), " ")[[1]]
library <- function(package) stopifnot(deparse(substitute(package)) == "Distance")

convert_units <- function(distance_units, effort_units, area_units) {
  stopifnot(distance_units == "meter", is.null(effort_units), area_units == "square kilometer")
  0.001
}

ds <- function(data, truncation, transect = "line", formula = ~1, key = c("hn", "hr", "unif"),
               adjustment = c("cos", "herm", "poly"), nadj = NULL, order = NULL, scale = c("width", "scale"),
               cutpoints = NULL, dht_group = FALSE, monotonicity = "strict", region_table = NULL, sample_table = NULL,
               obs_table = NULL, convert_units = 1, er_var = "P2", method = "nlminb", mono_method = "slsqp",
               quiet = FALSE, debug_level = 0, initial_values = NULL, max_adjustments = 5, er_method = 2,
               dht_se = TRUE, optimizer = "both", winebin = NULL) {
  call <- match.call()
  stopifnot(transect == "point", if (key == "unif") adjustment == "cos" && nadj >= 1 else is.null(adjustment))
  if (!identical(sort(names(truncation)), c("left", "right"))) stop("Truncation must be a list with left and right")
  if (!is.double(truncation$left) || !is.double(truncation$right)) stop("Truncation must be supplied as numbers")
  if (!is.null(cutpoints) && cutpoints[1] != truncation$left) {
    stop("The first cutpoint must be 0 or the left truncation distance!")
  }
  if (key %in% FAILS) stop("No models could be fitted.")
  seen <- data[!is.na(data$distance), ]
  if (anyDuplicated(seen$object)) stop("Not all object IDs are unique, check data.")
  seen <- seen[seen$distance >= truncation$left & seen$distance <= truncation$right, ]
  model <- maximum_likelihood(seen$distance, key, truncation, cutpoints, nadj, initial_values$adjustment)
  cat("ds", key, model$n, truncation$left, truncation$right, cutpoints, "\n")
  model$call <- call
  if ("Effort" %in% names(data)) model$dht <- simple_densities(data, model, convert_units)
  class(model) <- "dsmodel"
  model
}

detection <- function(r, key, par, width) {
  if (key == "unif") {
    terms <- outer(r, seq_along(par), function(r, j) cos(j * pi * r / width))
    return(drop(1 + terms %*% par) / (1 + sum(par)))
  }
  if (key == "hn") exp(-r^2 / (2 * exp(par[1])^2)) else 1 - exp(-(pmax(r, 1e-12) / exp(par[1]))^-exp(par[2]))
}

# Integral of 2 r g(r) / w^2 between two distances. Where g falls within a sliver, integrate() needs pieces.
covered <- function(from, to, key, par, width) {
  inner <- if (key == "unif") NULL else pmin(pmax(exp(par[1]) * c(0.3, 1, 3, 10), from), to)
  pieces <- sort(unique(c(from, to, inner)))
  sum(mapply(function(a, b) integrate(function(r) 2 * r * detection(r, key, par, width) / width^2, a, b, rel.tol = 1e-9,
                                      stop.on.error = FALSE)$value, pieces[-length(pieces)], pieces[-1]))
}

maximum_likelihood <- function(distances, key, truncation, cutpoints, n_cosines = 0, start = NULL) {
  left <- truncation$left
  width <- truncation$right
  counts <- if (!is.null(cutpoints)) table(cut(distances, cutpoints, include.lowest = TRUE))
  shares <- function(par) {
    bins <- mapply(function(a, b) covered(a, b, key, par, width), cutpoints[-length(cutpoints)], cutpoints[-1])
    pmax(bins, 1e-300) / sum(pmax(bins, 1e-300))
  }
  negative <- function(par) {
    if (any(abs(par) > 12)) return(1e10)
    if (key == "unif") {   # falls with the distance, at the points where mrds looks, and is never below 0
      at <- detection(c(0, width * (1:20 / 20)^1.5), key, par, width)
      if (any(diff(at) > 1e-9) || any(at < 0)) return(1e10)
    }
    if (!is.null(cutpoints)) return(-sum(counts * log(shares(par))))
    all <- covered(left, width, key, par, width)
    -sum(log(pmax(2 * distances * detection(distances, key, par, width) / width^2, 1e-300) / all))
  }
  start <- if (key != "unif") log(c(sqrt(mean(distances^2) / 2), 3))[seq_len(if (key == "hn") 1 else 2)] else
    if (is.null(start)) c(0.5, rep(0, n_cosines - 1)) else start
  best <- optim(start, negative, method = if (key == "hn") "BFGS" else "Nelder-Mead",
                control = list(reltol = 1e-14, maxit = 5000))
  p_of <- function(par) covered(left, width, key, par, width)
  covariance <- tryCatch(solve(optimHess(best$par, negative)), error = function(e) NULL)
  slope <- sapply(seq_along(best$par), function(i) {
    step <- replace(numeric(length(best$par)), i, 1e-5)
    (p_of(best$par + step) - p_of(best$par - step)) / 2e-5
  })
  variance <- if (is.null(covariance)) NA else drop(slope %*% covariance %*% slope)
  list(key = key, par = best$par, n = length(distances), left = left, width = width, cutpoints = cutpoints,
       distances = distances, logLik = -best$value, p = p_of(best$par),
       p_se = sqrt(if (is.na(variance) || variance < 0) NA else variance),
       shares = if (!is.null(cutpoints)) shares(best$par), counts = counts, ddf = list(par = best$par))
}

simple_densities <- function(data, model, units) {
  regions <- split(data, data$Region.Label)
  one <- function(part) {
    stations <- unique(part[, c("Sample.Label", "Effort")])
    n <- sum(!is.na(part$distance) & part$distance >= model$left & part$distance <= model$width)
    c(n / (model$p * pi * (model$width * units)^2 * sum(stations$Effort)), unique(part$Area))
  }
  values <- sapply(regions, one)   # [density and area, region]
  total <- sum(values[1, ] * values[2, ]) / sum(values[2, ])
  several <- length(regions) > 1
  list(individuals = list(D = data.frame(Label = c(if (several) names(regions), "Total"),
                                         Estimate = c(if (several) values[1, ], total))))
}

summary.dsmodel <- function(object, ...) {
  structure(list(ds = list(average.p = object$p, average.p.se = matrix(object$p_se), key = object$key)),
            class = "summary.dsmodel")
}
print.summary.dsmodel <- function(x, ...) cat("average p", x$ds$average.p, "\n")
AIC.dsmodel <- function(object, ..., k = 2) {
  data.frame(df = length(object$par), AIC = -2 * object$logLik + k * length(object$par))
}
plot.dsmodel <- function(x, which = 2, breaks = NULL, nc = NULL, jitter.v = rep(0, 3), showpoints = TRUE,
                         subset = NULL, pl.col = "lightgrey", pl.den = NULL, pl.ang = NULL, main = NULL, pages = 0,
                         pdf = FALSE, ylim = NULL, xlab = "Distance", ylab = NULL, ...) {
  stopifnot(length(list(...)) == 0)
  limits <- if (is.null(x$cutpoints)) seq(x$left, x$width, length.out = 20) else x$cutpoints
  bars <- hist(x$distances, breaks = limits, plot = FALSE)
  r <- seq(x$left, x$width, length.out = 200)
  line <- detection(r, x$key, x$par, x$width)
  if (pdf) line <- 2 * r * line / x$width^2 / x$p
  plot(bars, freq = FALSE, main = main, xlab = xlab)
  lines(r, line)
}
gof_ds <- function(model, plot = TRUE, chisq = FALSE, ...) {
  stopifnot(inherits(model, "dsmodel"), length(list(...)) == 0)
  if (is.null(model$cutpoints)) {
    if (plot) plot.default(sort(model$distances), main = "Q-Q")
    u <- sapply(sort(model$distances), function(d) covered(model$left, d, model$key, model$par, model$width)) / model$p
    n <- length(u)
    statistic <- 1 / (12 * n) + sum((u - (2 * seq_len(n) - 1) / (2 * n))^2)
    return(structure(list(dsgof = list(CvM = list(W = statistic, p = 0.5))), class = "ddf.gof"))
  }
  expected <- model$n * model$shares
  chisq <- sum((model$counts - expected)^2 / expected)
  df <- length(expected) - 1 - length(model$par)
  p <- if (df > 0) 1 - pchisq(chisq, df) else NA
  structure(list(chisquare = list(chi1 = list(observed = model$counts, expected = expected, chisq = chisq, p = p,
                                              df = df))), class = "ddf.gof")
}
print.ddf.gof <- function(x, ...) cat("gof", x$chisquare$chi1$chisq, x$dsgof$CvM$W, "\n")

check_multipliers <- function(multipliers) {
  if (is.null(multipliers)) return(c(rate = 1, SE = 0))
  if (!is.list(multipliers) || !all(names(multipliers) %in% c("creation", "decay"))) {
    stop("Multipliers must be named \"creation\" and \"decay\"")
  }
  table <- multipliers$creation
  if (!is.data.frame(table) || !"rate" %in% names(table)) stop("You need at least a column named \"rate\"")
  c(rate = table$rate, SE = if (is.null(table$SE)) 0 else table$SE)
}

dht2 <- function(ddf, observations = NULL, transects = NULL, geo_strat = NULL, flatfile = NULL, strat_formula,
                 convert_units = 1, er_est = c("R2", "P2"), multipliers = NULL, sample_fraction = 1,
                 ci_width = 0.95, innes = FALSE, stratification = "geographical", total_area = NULL,
                 binomial_var = FALSE) {
  stopifnot(inherits(ddf, "dsmodel"), all(c("distance", "Sample.Label", "Effort", "Area") %in% names(flatfile)),
            sample_fraction > 0, sample_fraction <= 1)
  if (!identical(is.na(flatfile$distance), is.na(flatfile$object))) {
    stop("NAs in distance column do not match those in the object column, check data")
  }
  rate <- check_multipliers(multipliers)
  by_region <- identical(attr(terms(strat_formula), "term.labels"), "Region.Label")
  parts <- if (by_region) split(flatfile, flatfile$Region.Label) else list(Total = flatfile)
  one <- function(part) {
    stations <- unique(part[, c("Sample.Label", "Effort")])
    n <- sapply(stations$Sample.Label, function(s) sum(part$Sample.Label == s & part$distance >= ddf$left & part$distance <= ddf$width,
                                                   na.rm = TRUE))
    L <- stations$Effort
    K <- length(L)
    area <- sum(unique(part[, c("Area", "Region.Label")])$Area)
    density <- sum(n) / (ddf$p * pi * (ddf$width * convert_units)^2 * sample_fraction * sum(L)) / rate[["rate"]]
    er_var <- K / (sum(L)^2 * (K - 1)) * sum(L^2 * (n / L - sum(n) / sum(L))^2)   # estimator P2 of Fewster et al. 2009
    cv <- sqrt(er_var / (sum(n) / sum(L))^2 + (ddf$p_se / ddf$p)^2 + (rate[["SE"]] / rate[["rate"]])^2)
    data.frame(Area = area, n = sum(n), Abundance = density * area, Abundance_CV = cv)
  }
  rows <- do.call(rbind, lapply(parts, one))
  if (by_region) {
    se <- sqrt(sum((rows$Abundance * rows$Abundance_CV)^2))
    rows <- rbind(rows, data.frame(Area = sum(rows$Area), n = sum(rows$n), Abundance = sum(rows$Abundance),
                                   Abundance_CV = se / sum(rows$Abundance), row.names = "Total"))
  }
  cat("dht2", nrow(flatfile), deparse(strat_formula), sprintf("%.7f", sample_fraction), convert_units, "\n")
  structure(rows, class = c("dht_result", "data.frame"))
}
print.dht_result <- function(x, report = "abundance", groups = FALSE, ...) {
  stopifnot(report %in% c("abundance", "density", "both"))
  cat(sprintf("%s %s %.4f\n", report, rownames(x), x$Abundance / x$Area), sep = "")
}

bootdht <- function(model, flatfile, resample_strata = FALSE, resample_obs = FALSE, resample_transects = TRUE,
                    nboot = 100, summary_fun, convert_units = 1, select_adjustments = FALSE, sample_fraction = 1,
                    multipliers = NULL, progress_bar = "base", cores = 1) {
  stopifnot(inherits(model, "dsmodel"), resample_transects, progress_bar %in% c("base", "none", "progress"))
  rate <- check_multipliers(multipliers)[["rate"]]
  call <- model$call
  for (name in names(call)[-1]) {   # as the package: symbols of the call are looked up where bootdht was called
    if (is.symbol(call[[name]])) call[[name]] <- eval(call[[name]], parent.frame())
  }
  flatfile$Effort <- flatfile$Effort * sample_fraction * rate
  rows <- lapply(seq_len(nboot), function(i) {
    drawn <- unlist(lapply(split(flatfile$Sample.Label, flatfile$Region.Label), function(labels) {
      labels <- unique(labels)
      labels[sample.int(length(labels), replace = TRUE)]
    }))
    parts <- mapply(function(label, new) transform(flatfile[flatfile$Sample.Label == label, ], Sample.Label = new),
                    drawn, make.unique(drawn), SIMPLIFY = FALSE)
    data <- do.call(rbind, parts)
    data$object[!is.na(data$distance)] <- seq_len(sum(!is.na(data$distance)))
    call$data <- data
    call$convert_units <- convert_units
    call$dht_se <- FALSE
    fit <- try(eval(call), silent = TRUE)
    if (inherits(fit, "try-error")) NULL else cbind(summary_fun(fit$dht, fit$ddf), bootstrap_ID = i)
  })
  structure(do.call(rbind, rows), nboot = nboot, class = c("dht_bootstrap", "data.frame"))
}
