"""What is played: genres, form, harmony, grooves, melodies, bass lines and accompaniments."""
