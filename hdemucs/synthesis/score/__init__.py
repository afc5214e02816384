"""What is played: genres, song forms, harmony, grooves, melodies, bass lines and accompaniment."""
