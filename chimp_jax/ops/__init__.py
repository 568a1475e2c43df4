"""Operations of the networks. Each has one meaning, a plain form, and a form that is fast on one platform."""
