# Golden case of camera-trap distance sampling: Maxwell's duiker (Howe et al. 2017), from the documentation of the R
# package Distance, https://examples.distancesampling.org/Distance-cameratraps/camera-distill.html
#
#   Rscript bench/duiker.R DuikerCameraTraps.RData
#
# Requires the package Distance (1.0.5 or later), whose data set DuikerCameraTraps the file is. Fits the uniform key with
# three cosines on 2 to 15 m and prints each figure beside the published one. Ends with the status 1 if one differs.
#
# The published density has a multiplier for availability: the activity of the animals, from the times of the triggers,
# over the share of the day in which cameras were on. The trigger times are not in the data set. At the published P_a the
# density without the multiplier is 17.55, which is 1.8 % more than the published one, so the tolerances are wider.

arguments <- commandArgs(trailingOnly = TRUE)
if (length(arguments) < 1) stop("give the file DuikerCameraTraps.RData")
resamples <- if (length(arguments) > 1) as.integer(arguments[2]) else 0   # 0: no bootstrap
load(arguments[1])

library(Distance)
conversion <- convert_units("meter", NULL, "square kilometer")
cutpoints <- c(seq(2, 8, 1), 10, 12, 15)
truncation <- list(left = 2, right = 15)
sample_fraction <- 42 / 360

# Three cosines start at the fit with two, because the package may not converge otherwise (its issue 132). bootdht looks
# up the names in the call of ds where it was called, so the calls stand here and not in a function.
two <- ds(DuikerCameraTraps, transect = "point", key = "unif", adjustment = "cos", nadj = 2, cutpoints = cutpoints,
          truncation = truncation, convert_units = conversion)
start <- list(adjustment = c(as.numeric(two$ddf$par), 0))
fit <- ds(DuikerCameraTraps, transect = "point", key = "unif", adjustment = "cos", nadj = 3, cutpoints = cutpoints,
          truncation = truncation, convert_units = conversion, initial_values = start)
p_a <- as.numeric(summary(fit)$ds$average.p)[1]
total <- as.data.frame(dht2(fit, flatfile = DuikerCameraTraps, strat_formula = ~1, convert_units = conversion,
                            sample_fraction = sample_fraction, er_est = "P2"))
total <- total[nrow(total), ]
density <- total$Abundance / total$Area
limits <- density * exp(c(-1, 1) * qnorm(0.975) * sqrt(log(1 + total$Abundance_CV^2)))

published <- c(P_a = 0.329, density = 17.24, SE = 4.80, lower = 9.80, upper = 30.34)
found <- c(p_a, density, density * total$Abundance_CV, limits)
tolerance <- c(0.0006, 0.35, 0.5, 0.8, 2)
if (resamples > 0) {
  set.seed(1)
  summary_of <- function(ests, fit) data.frame(Label = ests$individuals$D$Label, Density = ests$individuals$D$Estimate)
  boot <- bootdht(fit, flatfile = DuikerCameraTraps, resample_transects = TRUE, nboot = resamples,
                  summary_fun = summary_of, convert_units = conversion, sample_fraction = sample_fraction,
                  progress_bar = "none")
  published <- c(published, "bootstrap median" = 17.4)
  found <- c(found, median(boot$Density, na.rm = TRUE))
  tolerance <- c(tolerance, 3)
}
same <- abs(found - published) <= tolerance
cat("Uniform key, 3 cosines, 2 to 15 m\n")
cat(sprintf("%-16s  found %8.4f  published %7.3f  %s\n", names(published), found, published,
            ifelse(same, "same", "DIFFERENT")), sep = "")
if (!all(same)) quit(status = 1)
