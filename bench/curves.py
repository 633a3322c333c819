"""x"""
WORKS={}
