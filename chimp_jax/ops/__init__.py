"""Operations of the networks: one meaning, a plain form, and a form that is fast on a platform."""
