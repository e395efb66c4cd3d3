"""Synthetic against real: does a set show what was asked, is it real enough, is it a copy?"""
