"""The page that shows dims, bits and shortlists at work: plain files, served from memory."""
