"""Photographs and labelled images."""
