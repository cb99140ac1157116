"""Raw photos: faces found (`finding`), aligned as FFHQ's crops are (`alignment`), and pasted back (`pasting`)."""
