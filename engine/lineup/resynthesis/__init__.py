"""The evidence of resynthesis: what do the candidates make of the query's caption?"""
