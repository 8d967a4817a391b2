"""From any picture to digits as MNIST has them. Knows no recipe and no model.

page           analyze a picture once; take one digit or all digits from it
image_io       decode an image within limits; name what is not one
binarization   foreground and background: polarity, borders, illumination, ruled lines
components     connected components: dirt, shadows, those of one digit
segmentation   rows of digits; digits that touch
sorted_values  percentiles and Otsu's threshold, read off sorted values
distance       how far each pixel of a stroke is from its edge
mnist_format   28x28 pixels, stroke width, centre of mass
"""
