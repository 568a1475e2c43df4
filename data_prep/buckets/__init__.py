"""Access to S3 buckets."""
