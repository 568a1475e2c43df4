"""Pictures of frames and clips: thumbnails, the figure of a clip, colours of tracks."""
