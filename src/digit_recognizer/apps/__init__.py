"""What people see and use: a window and a web page.

window   the window to draw in, which also trains
web      the page in the browser
"""
