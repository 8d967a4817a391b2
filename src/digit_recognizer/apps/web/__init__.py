"""The page in the browser: `digits serve`.

server       starts Streamlit on this machine only
page         what the page shows, as Streamlit runs it
reading      an image to a digit or a number; the table of many images
model_list   which models the page offers
"""
